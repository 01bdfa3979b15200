"""What started a process, and its place in it: schedulers, `torchrun`, MPI, Kubernetes, notebooks in a cloud, CI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...storage.masking import masked_variables


@dataclass(frozen=True, slots=True)
class _Launcher:
    sign: str  # the variable that only this launcher sets
    prefix: str
    endings: str  # of the variables with the prefix, separated by blanks
    others: str = ""  # whole names

    def variables(self) -> frozenset[str]:
        return frozenset([self.prefix + ending for ending in self.endings.split()] + self.others.split())


_LAUNCHERS: Mapping[str, _Launcher] = {
    "slurm": _Launcher(
        "SLURM_JOB_ID",
        "SLURM_",
        "JOB_ID JOB_NAME JOB_NODELIST JOB_NUM_NODES JOB_PARTITION JOB_ACCOUNT JOB_QOS JOB_CPUS_PER_NODE PROCID LOCALID"
        " NODEID NTASKS NNODES ARRAY_JOB_ID ARRAY_TASK_ID STEP_ID CLUSTER_NAME SUBMIT_DIR GPUS GPUS_ON_NODE",
    ),
    "torchrun": _Launcher(
        "TORCHELASTIC_RUN_ID",
        "TORCHELASTIC_",
        "RUN_ID RESTART_COUNT MAX_RESTARTS",
        "RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE GROUP_RANK ROLE_RANK ROLE_NAME MASTER_ADDR MASTER_PORT",
    ),
    "mpi": _Launcher("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_", "RANK SIZE LOCAL_RANK LOCAL_SIZE NODE_RANK"),
    "kubernetes": _Launcher(
        "KUBERNETES_SERVICE_HOST", "POD_", "NAME NAMESPACE IP UID", "HOSTNAME NODE_NAME JOB_COMPLETION_INDEX"
    ),
    "ray": _Launcher("RAY_JOB_ID", "RAY_", "JOB_ID ADDRESS NODE_ID"),
    "sagemaker": _Launcher(
        "SM_CURRENT_HOST",
        "SM_",
        "CURRENT_HOST HOSTS NUM_GPUS NUM_CPUS CURRENT_INSTANCE_TYPE",
        "TRAINING_JOB_NAME",
    ),
    "colab": _Launcher("COLAB_RELEASE_TAG", "COLAB_", "RELEASE_TAG GPU"),
    "kaggle": _Launcher("KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_", "KERNEL_RUN_TYPE"),
    "github": _Launcher(
        "GITHUB_ACTIONS",
        "GITHUB_",
        "REPOSITORY SHA REF REF_NAME HEAD_REF RUN_ID RUN_NUMBER RUN_ATTEMPT WORKFLOW JOB ACTOR EVENT_NAME SERVER_URL",
    ),
    "gitlab": _Launcher(
        "GITLAB_CI",
        "CI_",
        "PROJECT_PATH PROJECT_URL COMMIT_SHA COMMIT_REF_NAME PIPELINE_ID PIPELINE_URL PIPELINE_SOURCE JOB_ID JOB_NAME"
        " JOB_URL",
    ),
    "jenkins": _Launcher(
        "JENKINS_URL", "BUILD_", "NUMBER URL ID", "JENKINS_URL JOB_NAME NODE_NAME GIT_COMMIT GIT_BRANCH"
    ),
    "buildkite": _Launcher(
        "BUILDKITE", "BUILDKITE_", "BUILD_ID BUILD_NUMBER BUILD_URL JOB_ID BRANCH COMMIT PIPELINE_SLUG"
    ),
    "circleci": _Launcher(
        "CIRCLECI", "CIRCLE_", "BUILD_NUM BUILD_URL JOB SHA1 BRANCH PROJECT_REPONAME WORKFLOW_ID"
    ),
    "azure": _Launcher(
        "TF_BUILD",
        "BUILD_",
        "BUILDID BUILDNUMBER SOURCEVERSION SOURCEBRANCH REPOSITORY_NAME",
        "SYSTEM_TEAMPROJECT",
    ),
}


def launcher_facts(environ: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """What started the process, with the variables that tell its place there, secrets masked.

    >>> launcher_facts({"SLURM_JOB_ID": "7", "SLURM_PROCID": "1", "HOME": "/home/ada"})
    {'slurm': {'SLURM_JOB_ID': '7', 'SLURM_PROCID': '1'}}
    """
    found = {name: launcher for name, launcher in _LAUNCHERS.items() if environ.get(launcher.sign)}
    shown = masked_variables(environ) if found else {}
    return {
        name: {key: shown[key] for key in sorted(launcher.variables()) if shown.get(key)}
        for name, launcher in found.items()
    }
