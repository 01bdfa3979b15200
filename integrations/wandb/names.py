"""What the alias offers: its modules, and for each name that is not simply ours where it comes from.

A name is looked up in `MODULES`, then among the public names of `OUR_MODULES`. What a library merely imports for type
checks (`wandb.sdk.wandb_run.Run`) is here as well; what only that SDK's own parts use is not.
"""

from __future__ import annotations

from collections.abc import Mapping

LIVE = ("run", "config", "summary")  # of the current run: never kept

_CALLS = "lineart.integrations.wandb.calls"
_ERRORS = "lineart.storage.errors"

_ERROR_NAMES = {
    "Error": f"{_ERRORS}:Error",
    "CommError": f"{_ERRORS}:CommError",
    "UsageError": f"{_ERRORS}:UsageError",
    "UnsupportedError": f"{_ERRORS}:UsageError",
    "ConfigError": f"{_ERRORS}:UsageError",
    "AuthenticationError": f"{_ERRORS}:StoreError",  # the store refuses
}
_RUN_NAMES = {"Run": "lineart:Run", "RunDisabled": f"{_CALLS}:RunDisabled"}
_TERMINAL_NAMES = {name: f"{_CALLS}:{name}" for name in ("termlog", "termwarn", "termerror")}
_KERAS_NAMES = {
    "WandbCallback": "lineart.integrations.keras:LineartCallback",
    "WandbMetricsLogger": "lineart.integrations.keras:MetricsLogger",
    "WandbModelCheckpoint": "lineart.integrations.keras:ModelCheckpoint",
    "WandbEvalCallback": "lineart.integrations.wandb.evaluation:WandbEvalCallback",
}
_LIGHTGBM_NAMES = {
    "wandb_callback": f"{_CALLS}:lightgbm_callback",
    "log_summary": "lineart.integrations.lightgbm:log_summary",
}
_XGBOOST_NAMES = {
    "WandbCallback": "lineart.integrations.xgboost:LineartCallback",
    "wandb_callback": "lineart.integrations.xgboost:LineartCallback",
}
_API_NAMES = {
    "Api": "lineart:Api",
    "PublicApi": "lineart:Api",
    "Artifact": "lineart:Artifact",
}

MODULES: Mapping[str, Mapping[str, str]] = {
    "wandb": {
        "__version__": f"{_CALLS}:VERSION",
        **{
            name: f"{_CALLS}:{name}"
            for name in (
                "_attach",
                "ensure_configured",
                "init",
                "login",
                "plot_table",
                "require",
                "setup",
                "teardown",
            )
        },
        **_ERROR_NAMES,
        **_TERMINAL_NAMES,
        "PublicApi": "lineart:Api",
    },
    "wandb.apis": _API_NAMES,
    "wandb.apis.public": _API_NAMES,
    "wandb.data_types": {"WBValue": "lineart.tracking.media.base:Media"},
    "wandb.errors": {**_ERROR_NAMES, **_TERMINAL_NAMES},
    "wandb.errors.errors": _ERROR_NAMES,
    "wandb.errors.term": _TERMINAL_NAMES,
    "wandb.integration": {},
    "wandb.integration.keras": _KERAS_NAMES,
    "wandb.integration.keras.callbacks": _KERAS_NAMES,
    "wandb.integration.lightgbm": _LIGHTGBM_NAMES,
    "wandb.integration.sklearn": {},
    "wandb.integration.xgboost": _XGBOOST_NAMES,
    "wandb.keras": _KERAS_NAMES,
    "wandb.lightgbm": _LIGHTGBM_NAMES,
    "wandb.plot": {"plot_table": f"{_CALLS}:plot_table"},
    "wandb.sdk": {**_RUN_NAMES, "Artifact": "lineart:Artifact", "Settings": "lineart:Settings"},
    "wandb.sdk.artifacts": {},
    "wandb.sdk.artifacts.artifact": {"Artifact": "lineart:Artifact"},
    "wandb.sdk.data_types": {},
    "wandb.sdk.lib": {"RunDisabled": f"{_CALLS}:RunDisabled"},
    "wandb.sdk.lib.config_util": {"ConfigError": f"{_ERRORS}:UsageError"},
    "wandb.sdk.lib.disabled": {"RunDisabled": f"{_CALLS}:RunDisabled"},
    "wandb.sdk.lib.runid": {"generate_id": f"{_CALLS}:generate_id"},
    "wandb.sdk.wandb_artifacts": {"Artifact": "lineart:Artifact"},
    "wandb.sdk.wandb_config": {"Config": "lineart:Config"},
    "wandb.sdk.wandb_init": {"init": f"{_CALLS}:init"},
    "wandb.sdk.wandb_run": _RUN_NAMES,
    "wandb.sdk.wandb_settings": {"Settings": "lineart:Settings"},
    "wandb.sdk.wandb_summary": {"Summary": "lineart:Summary"},
    "wandb.sklearn": {},
    "wandb.util": {
        name: f"{_CALLS}:{name}" for name in ("generate_id", "get_module", "make_artifact_name_safe")
    },
    "wandb.wandb_run": _RUN_NAMES,
    "wandb.wandb_sdk": {},
    "wandb.wandb_sdk.wandb_run": _RUN_NAMES,
    "wandb.xgboost": _XGBOOST_NAMES,
}

_MEDIA = ("lineart.tracking.media",)
_SKLEARN = ("lineart.integrations.sklearn",)

OUR_MODULES: Mapping[str, tuple[str, ...]] = {
    "wandb": ("lineart", *_MEDIA),
    "wandb.data_types": _MEDIA,
    "wandb.sdk.data_types": _MEDIA,
    "wandb.plot": ("lineart.tracking.plot",),
    "wandb.sklearn": _SKLEARN,
    "wandb.integration.sklearn": _SKLEARN,
}
