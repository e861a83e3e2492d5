"""How a network learns: `train`, the reference that everything in `fast/` must equal.

What it is given: `loader`, a DeviceLoader, gives the batches; `objective` the loss, cross-entropy or what the settings
say if None. `validation`, another loader, is evaluated after each epoch and decides on plateaus, early stopping and
best weights; `test` is evaluated and decides nothing. `accelerate`, one of `fast`, makes a faster step of a step.
`checkpoint` is offered the state after every step, and a run goes on from the one it finds. `progress` is told the
share that is done, `track` each epoch's numbers; the `path` of the weights that it adds to is part of the checkpoint.
"""

from torch import Tensor

from secondlook.data import draws
from secondlook.recipe import Classifier, RecipeError
from secondlook.training import losses, optimizers, schedules
from secondlook.training.fast.cpu import denormals_flushed, memory_kept
from secondlook.training.precision import autocast, seed_generators
from secondlook.training.run import Run


def check(settings: Classifier, validated: bool) -> None:
    """Raises RecipeError for settings that no run can have; `validated` tells whether there are validation images."""
    optimizers.check(settings.optimizer)
    schedules.check(settings.schedule)
    losses.check(settings)
    watching = {
        "schedule 'plateau'": settings.schedule.get("name") == "plateau",
        "early_stopping": settings.early_stopping > 0,
        "restore_best": settings.restore_best,
    }
    for name, on in watching.items():
        if on and not validated:
            raise RecipeError(f"{name} decides on the validation loss; set data.validation above 0")


@denormals_flushed()
@memory_kept()
def train(net, loader, settings, seed, *, objective=None, validation=None, test=None, accelerate=None, checkpoint=None,
          progress=lambda share: None, track=lambda epoch, row: None, path=None) -> Run:  # fmt: skip
    """Trains `net`, in place, for `settings.epochs` epochs; returns the run, with its history.

    Raises RecipeError for settings that cannot be, before any work, and Stopped when asked to stop.
    """
    check(settings, validation is not None)
    run = Run(net, loader, settings, objective or losses.Classification(settings, net), path)
    if checkpoint:
        run.restore(checkpoint.load())

    def step(rows: Tensor) -> None:
        x, y = loader.take(rows)
        run.optimizer.zero_grad()
        with autocast(settings.precision, loader.device):
            output = net(x)
        loss, sums = run.objective(output, y)
        loss.sum().backward()  # one loss, or one of each seed side by side
        norms = run.clip_gradients(settings.clip_norm)
        run.optimizer.step()
        run.count(sums, norms)

    step = accelerate(run, step) if accelerate else step
    while run.epoch < settings.epochs and run.status == "running":
        net.train()
        loader.begin(run.epoch)
        run.start_clock()
        while run.step < loader.steps_per_epoch:
            seed_generators(draws.generator_seed(seed, run.epoch, run.step), loader.device)
            step(loader.rows(run.step))
            run.end_step()
            progress(run.share)
            if checkpoint:
                checkpoint.offer(run.state)
        row = run.summary()
        for name, images in (("validation", validation), ("test", test)):
            if images is not None:
                row |= run.evaluate(images, name)
        run.end_epoch(row)  # the schedule, the best weights, early stopping, divergence
        track(run.epoch, row)
    run.end()
    if checkpoint:
        checkpoint.save(run.state())
    return run
