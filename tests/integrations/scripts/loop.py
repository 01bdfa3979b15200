"""A training loop that names its own step, defines its metrics, logs pictures and a table, and saves its weights."""
# pyright: reportMissingImports=false

import numpy as np
import wandb

EPOCHS = 5

run = wandb.init(
    project="fits", name="line", group="lines", job_type="train", config={"rate": 0.1, "seed": 3}
)
run.define_metric("epoch")
run.define_metric("val/*", step_metric="epoch", step_sync=True)
run.define_metric("val/error", summary="min")

random = np.random.default_rng(wandb.config.seed)
x = random.uniform(-1, 1, 200)
y = 3 * x - 0.5 + random.normal(0, 0.05, 200)
slope = shift = 0.0
table = wandb.Table(columns=["epoch", "slope", "shift"])
for epoch in range(EPOCHS):
    for batch in np.split(random.permutation(200), 10):
        wrong = slope * x[batch] + shift - y[batch]
        slope -= wandb.config.rate * float(np.mean(wrong * x[batch]))
        shift -= wandb.config.rate * float(np.mean(wrong))
        wandb.log({"train/error": float(np.mean(wrong**2)), "params": {"slope": slope, "shift": shift}})
    error = float(np.mean((slope * x + shift - y) ** 2))
    picture = wandb.Image(np.full((8, 8, 3), 40 * epoch, dtype=np.uint8), caption=f"epoch {epoch}")
    wandb.log({"epoch": epoch, "val/error": error, "picture": picture})
    table.add_data(epoch, slope, shift)
    if error < 0.5 and not wandb.run.summary.get("told"):
        wandb.alert(title="converges", text=f"error {error:.3f}", level=wandb.AlertLevel.INFO)
        wandb.run.summary["told"] = True

np.savez("weights.npz", slope=slope, shift=shift)
wandb.save("weights.npz")
wandb.log({"steps": table})
wandb.config.update({"rate": 0.1, "epochs": EPOCHS}, allow_val_change=True)
print("run", wandb.run.id, wandb.run.name, wandb.run.project)
