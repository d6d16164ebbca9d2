"""Training of importance weights against a critic, for a generator that stays as it is.

Every batch is a function of the seed and its number, so that a checkpoint needs no state of random generators or
loaders, and an interrupted training that goes on ends in the same file, byte for byte (on the same machine with the
same number of threads).
"""

import copy
import json
import math
from pathlib import Path

import torch

from dnnlib_compat.arguments import is_whole
from dnnlib_compat.errors import quoted, reason
from dnnlib_compat.gradients import no_grad
from dnnlib_compat.json_text import parse_json
from latent_plugins.files.arrays import read_arrays, read_header, write_arrays
from latent_plugins.files.fingerprint import fingerprint, weights_fingerprint
from latent_plugins.metrics.generated import seeded_noise
from latent_plugins.reweighting.networks import (
    WeightNetwork,
    build_critic,
    check_critic,
    check_input,
    critic_settings,
    default_input,
    input_dim,
    network_input,
)
from latent_plugins.reweighting.objective import critic_loss, distance, gradient_penalty, rewards, weight_loss
from latent_plugins.reweighting.presets import former_numbers
from latent_plugins.reweighting.training_data import (
    FOR_CRITIC,
    FOR_WEIGHTS,
    INITIAL,
    MEASURE,
    NOISE,
    WARM_CRITIC,
    WARM_NOISE,
    check_data,
    data_fingerprint,
    random_key,
    real_batches,
)
from latent_plugins.reweighting.weight_files import WHAT, WeightsError, save_weights

FORMAT = "latent-plugins weights training 1"
CHECKPOINT, RESULT = "checkpoint.npz", "weights.npz"
REMEDY = "remove it to start again"  # what helps with a damaged checkpoint
MOST_STEPS = 1 << 60  # of a training, in a header
COLUMNS = ("step", "mean_weight", "max_weight", "acceptance", "zero_share", "wasserstein", "penalty", "weight_loss")

MEASURED = 10_000  # latents that the final mean weight is taken over


class WeightsCollapsed(ValueError):
    """A training whose weights vanished, exploded or are no numbers any more."""


def train(
    generator, data, schedule, *, outdir, steps=None, seed=0, input=None, critic=None, snapshot=200, workers=3,
    selection=None,
):  # fmt: skip
    """Train importance weights of a generator; iterate over the result to make the training happen.

    Yields a row a step, a dict of the COLUMNS: the number of `step`s done (up to zero for the schedule's warm-up, in
    which the critic learns alone and every weight is 1); mean and largest weight, the share of
    latents that rejection would accept and the share of zero weights, over the step's batch; the critic's estimate of
    the `wasserstein` distance and its `penalty`; the loss of the weights. At the end `weights.npz` is in the folder
    `outdir`, which must exist (load_weights opens it). Every `snapshot` steps a checkpoint is written there; the same
    call goes on from it, also with more steps.

    data: an ImageDataset of the generator's size, or a float tensor [N, C, H, W] in the generator's range. Labels of a
    conditional generator are drawn from an ImageDataset's; the critic sees images alone, whose distribution is that
    over all labels. schedule: a Schedule; steps: instead of the schedule's. input: `z` or `w`, by default the styles
    where there are any. critic: a critic whose copy the training goes on from, such as the discriminator that the
    generator was trained against, of a kind in `networks.CRITICS`; by default a new one. workers: threads that decode
    images. selection: a Selection, to end with the snapshot after the warm-up that it finds best, not with the last.

    Raises ValueError (before any row) when data, input or numbers do not fit, WeightsError when the folder holds
    another training or a damaged checkpoint, WeightsCollapsed (from the iteration) when the mean weight stays out of
    the schedule's bounds or anything is not finite.
    """
    schedule = schedule if steps is None else schedule.replace(steps=steps)
    if snapshot < 1:
        raise ValueError(f"a snapshot every {snapshot} steps: give 1 or more")
    check_data(generator, data)
    input = check_input(generator, input or default_input(generator))
    trainer = Trainer(generator, data, schedule, seed, input, None if critic is None else check_critic(critic))
    return _rows(started(trainer, outdir, selection), Path(outdir), snapshot, workers, selection)


def started(trainer, outdir, selection=None):
    """A Trainer where the checkpoint in a folder left it, if there is one. Raises WeightsError as `train`."""
    checkpoint = Path(outdir) / CHECKPOINT
    if selection is not None:
        selection.check(Path(outdir), trainer.identity["data"])
    if checkpoint.exists():
        trainer.load(checkpoint)
    return trainer


def check_checkpoint(outdir):
    """Raise WeightsError where the checkpoint in a folder is damaged, before anything is opened for going on."""
    path = Path(outdir) / CHECKPOINT
    if path.exists():
        steps_done(outdir)
        read_arrays(path, FORMAT, error=WeightsError, what=WHAT, remedy=REMEDY)


def steps_done(outdir):
    """How many steps the checkpoint in a folder has behind it, None without one; during the warm-up, minus how many of
    its updates are left. Raises WeightsError if it is damaged."""
    path = Path(outdir) / CHECKPOINT
    if not path.exists():
        return None
    steps = read_header(path, FORMAT, error=WeightsError, what=WHAT, remedy=REMEDY).get("step")
    if not is_whole(steps, -MOST_STEPS, MOST_STEPS):
        raise WeightsError(f"{path}: damaged, it does not say how far it got; {REMEDY}")
    return steps


def _rows(trainer, outdir, snapshot, workers, selection):
    def look():
        if trainer.step > 0:
            selection.look(outdir, trainer.step, trainer.finish)

    yield from training_rows(trainer, trainer.schedule.steps, outdir, snapshot, workers, selection and look)
    if selection is None:
        trainer.finish(outdir / RESULT)
    else:
        selection.keep(outdir, outdir / RESULT)


def training_rows(trainer, last, outdir, snapshot, workers, look=None):
    """Train up to the step `last`: the row of every update, with a checkpoint after each `snapshot` of them and the
    last. look: called at each snapshot before its checkpoint, so that one that was interrupted comes again. Raises
    WeightsCollapsed as `train`."""
    batches = real_batches(trainer, workers)
    while trainer.step < last:
        row = trainer.train_step(next(batches))
        # The state that led to a collapse is not worth keeping: the last sound one stays.
        collapse = trainer.collapse(row)
        if collapse is None and ((trainer.step + trainer.schedule.warmup) % snapshot == 0 or trainer.step == last):
            if look is not None:
                look()
            trainer.save(outdir / CHECKPOINT)
        yield row
        if collapse is not None:
            raise WeightsCollapsed(collapse)


def check_moments(state, optimizer, name):
    """Raise ValueError unless a state {number: {moment: tensor}} is Adam's of all parameters, or of none."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    shapes = {
        i: dict(step=(), exp_avg=tuple(parameter.shape), exp_avg_sq=tuple(parameter.shape))
        for i, parameter in enumerate(parameters)
    }
    found = {i: {key: tuple(tensor.shape) for key, tensor in moments.items()} for i, moments in state.items()}
    if found not in ({}, shapes):
        raise ValueError(f"the state of {name} is not that of its network")


class Trainer:
    """Networks, optimizers and counters of a training; everything that a checkpoint holds."""

    def __init__(self, generator, data, schedule, seed, input, critic=None):
        self.generator, self.data, self.schedule, self.seed, self.input = generator, data, schedule, seed, input
        self.device = next(generator.parameters()).device
        with torch.random.fork_rng(devices=[]):  # initialisation draws from the global generator, which is the user's
            torch.manual_seed(random_key(seed, 0, INITIAL))
            n = input_dim(generator, input)
            self.weights = WeightNetwork(n, schedule.sizes(n), schedule.activation).to(self.device)
            self.critic = build_critic(critic_settings(generator, schedule)) if critic is None else critic
        self.critic = copy.deepcopy(self.critic).to(self.device).train().requires_grad_(True)
        self.average = copy.deepcopy(self.weights).requires_grad_(False)
        self.weights_opt = torch.optim.Adam(self.weights.parameters(), lr=schedule.weights_lr, betas=schedule.betas)
        self.critic_opt = torch.optim.Adam(self.critic.parameters(), lr=schedule.critic_lr, betas=schedule.betas)
        self.step = -schedule.warmup  # below zero the critic learns alone
        self.strikes = 0  # steps in a row whose mean weight was out of bounds
        self.identity = self._identity(critic)

    def train_step(self, batches):
        """Updates of the weights after one of the critic for each of the real `batches`; the log row."""
        if self.step < 0:
            return self.warmup_step(batches[0].to(self.device))
        for k, real in enumerate(batches):
            number = self.step * self.schedule.critic_steps + k
            critic_figures = self.critic_step(real.to(self.device), number)
        for k in range(self.schedule.weights_steps):
            weight_figures = self.weights_step(self.step * self.schedule.weights_steps + k)
        figures = torch.stack([*weight_figures, *critic_figures]).tolist()
        self.step += 1
        names = ("mean_weight", "max_weight", "acceptance", "zero_share", "weight_loss")
        row = dict(zip([*names, "wasserstein", "penalty"], figures), step=self.step)
        return {name: row[name] for name in COLUMNS}

    def warmup_step(self, real):
        """An update of the critic alone, against samples that all have the weight 1; the log row."""
        distance, penalty = self.critic_step(real, self.step + self.schedule.warmup, alone=True)
        self.step += 1
        row = dict(step=self.step, mean_weight=1.0, max_weight=1.0, acceptance=1 / self.schedule.m, zero_share=0.0)
        row.update(wasserstein=distance.item(), penalty=penalty.item(), weight_loss=0.0)
        return {name: row[name] for name in COLUMNS}

    def critic_step(self, real, number, alone=False):
        """One update of the critic; its estimate of the distance and its penalty, scalars. alone: of the warm-up."""
        schedule = self.schedule
        random = torch.Generator().manual_seed(random_key(self.seed, number, WARM_CRITIC if alone else FOR_CRITIC))
        noise = (number, WARM_NOISE) if alone else (2 * number, NOISE)
        with torch.no_grad():
            images, inputs = self.generated(schedule.real_batch, random, *noise)
            w = images.new_ones(len(images)) if alone else self.weights(inputs)
        real_scores, scores = self.critic(real), self.critic(images)
        loss = critic_loss(real_scores, scores, w, schedule.critic_loss, schedule.critic_term)
        penalty = gradient_penalty(self.critic, real, images, random, schedule.penalty_kind)
        self.critic_opt.zero_grad(set_to_none=True)
        (loss + schedule.penalty * penalty).backward()
        self.critic_opt.step()
        return distance(real_scores, scores, w, schedule.critic_term).detach(), penalty.detach()

    def weights_step(self, number):
        """One update of the weights on fresh latents; statistics of the batch's weights and the loss, scalars."""
        schedule = self.schedule
        random = torch.Generator().manual_seed(random_key(self.seed, number, FOR_WEIGHTS))
        with torch.no_grad():
            images, inputs = self.generated(schedule.batch, random, 2 * number + 1)
            reward = rewards(self.critic(images))
        w = self.weights(inputs)
        smoothing = schedule.smoothing_at(self.step)
        loss = weight_loss(w, reward, schedule.lambda1, schedule.lambda2, schedule.m, smoothing)
        self.weights_opt.zero_grad(set_to_none=True)
        loss.backward()
        self.weights_opt.step()
        self.update_average(number)
        w = w.detach()
        accepted = w.clamp(max=schedule.m).mean() / schedule.m
        return w.mean(), w.max(), accepted, (w == 0).float().mean(), loss.detach()

    def generated(self, n, random, noise, purpose=NOISE):
        """Images of n prior latents, and what the weight network sees of these. noise: number of its noise inputs."""
        z, c = (each.to(self.device) for each in self.latents(n, random))
        with seeded_noise(random_key(self.seed, noise, purpose), 0, self.device):
            images = self.generator(z, c, noise_mode="random")
        return images, network_input(self.generator, z, c, self.input)

    def latents(self, n, random):
        """n latents of the prior and labels of the data, on the CPU."""
        z = self.generator.sample_prior(n, random)
        if not self.generator.c_dim:
            return z, torch.zeros(n, 0)
        return z, self.data.label_batch(torch.randint(len(self.data), (n,), generator=random).numpy())

    @no_grad
    def update_average(self, number):
        # Early on, an average over fewer steps, so that the initial network is soon forgotten.
        keep = min(self.schedule.ema, (1 + number) / (10 + number))
        for average, current in zip(self.average.parameters(), self.weights.parameters()):
            average.lerp_(current, 1 - keep)

    def collapse(self, row):
        """Why the training cannot go on after this row, or None."""
        low, high, mean = self.schedule.least_mean, self.schedule.greatest_mean, row["mean_weight"]
        remedy = "a larger lambda1, a smaller critic-lr or a smaller weights-lr may help, in a folder of its own"
        broken = [name for name in ("mean_weight", "weight_loss", "wasserstein") if not math.isfinite(row[name])]
        if broken:
            return f"the training broke at step {self.step}: its {broken[0]} is {row[broken[0]]}; {remedy}"
        self.strikes = 0 if low <= mean <= high else self.strikes + 1
        if self.strikes < self.schedule.patience:
            return None
        return (
            f"the weights collapsed: their mean is {mean:.3g} at step {self.step} and was outside {low:g} to {high:g} "
            f"for {self.strikes} steps; {remedy}"
        )

    @no_grad
    def finish(self, path):
        """Write the averaged weights, with their mean and acceptance over latents of the prior."""
        random = torch.Generator().manual_seed(random_key(self.seed, 0, MEASURE))
        z, c = self.latents(MEASURED, random)
        parts = zip(z.split(1000), c.split(1000))
        batches = ((part.to(self.device), labels.to(self.device)) for part, labels in parts)
        w = torch.cat([self.average(network_input(self.generator, *batch, self.input)) for batch in batches]).double()
        schedule = self.schedule
        save_weights(
            path,
            self.generator,
            self.average,
            self.critic,
            input=self.input,
            m=schedule.m,
            schedule=schedule.record(),
            steps=self.step,
            seed=self.seed,
            mean_weight=float(w.mean()),
            acceptance=float(w.clamp(max=schedule.m).mean() / schedule.m),
        )

    def _identity(self, critic):
        """{name: value} of everything that decides the numbers of a training, the number of its steps aside."""
        fields = dict(network=fingerprint(self.generator), data=data_fingerprint(self.data), seed=self.seed)
        fields.update(self.schedule.record(), input=self.input)
        fields["critic"] = "new" if critic is None else weights_fingerprint(critic, critic.settings)
        del fields["steps"]
        return parse_json(json.dumps(fields))

    def save(self, path):
        """Write everything that is needed to go on."""
        header = dict(format=FORMAT, step=self.step, strikes=self.strikes, identity=self.identity)
        parts = {name: getattr(self, name).state_dict() for name in ("weights", "critic", "average")}
        for name in ("weights_opt", "critic_opt"):
            state = getattr(self, name).state_dict()["state"]
            parts[name] = {f"{i}/{key}": tensor for i, moments in state.items() for key, tensor in moments.items()}
        write_arrays(path, header, parts)

    def load(self, path):
        """Go on from what `save` wrote. Raises WeightsError when it is damaged or of another training."""
        header, parts = read_arrays(path, FORMAT, error=WeightsError, what=WHAT, remedy=REMEDY)
        try:
            recorded, mine = former_numbers(header["identity"]), self.identity
            differing = [name for name in mine if recorded.get(name) != mine[name]]
            if differing:
                name = differing[0]
                raise WeightsError(
                    f"{path.parent} holds a training with another {name.replace('_', '-')} ({recorded.get(name)}, "
                    f"wanted {mine[name]}): choose another folder, or remove this one"
                )
            for name, least in (("step", -self.schedule.warmup), ("strikes", 0)):
                if not is_whole(header[name], least, MOST_STEPS):
                    raise ValueError(f"its {name} is {quoted(header[name])}, not a count")
            if header["step"] > self.schedule.steps:
                raise WeightsError(
                    f"{path.parent} holds a training of {header['step']} steps, more than {self.schedule.steps}: ask "
                    "for at least as many, or choose another folder"
                )
            for name in ("weights", "critic", "average"):
                getattr(self, name).load_state_dict(parts[name])
            for name in ("weights_opt", "critic_opt"):
                state = {}
                for key, tensor in parts.get(name, {}).items():
                    i, _, moment = key.partition("/")
                    state.setdefault(int(i), {})[moment] = tensor
                optimizer = getattr(self, name)
                check_moments(state, optimizer, name)
                optimizer.load_state_dict(dict(optimizer.state_dict(), state=state))
            self.step, self.strikes = header["step"], header["strikes"]
        except WeightsError:
            raise
        except Exception as error:  # states that fit no network or optimizer fail in many ways
            text = reason(error)
            raise WeightsError(f"{path}: damaged ({text}); {REMEDY}") from None
