"""A script that fails in the middle; it takes care to work without tracking, too."""
# pyright: reportMissingImports=false

try:
    import wandb

    assert hasattr(wandb, "__version__")
except (ImportError, AssertionError):
    wandb = None

if wandb is not None:
    wandb.init(project="broken", config={"depth": 2}, anonymous="allow")
for step in range(3):
    if wandb is not None and wandb.run is not None:
        wandb.log({"step/value": step})
print("before it fails")
raise ValueError("the data is bad")
