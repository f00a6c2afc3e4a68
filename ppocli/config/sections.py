"""The config's sections, and what each key says about itself."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from ppocli.config import values

MAX_BATCH_SIZE = 10_000_000  # samples that an update may hold: more would not fit the memory this is made for


@dataclass(frozen=True)
class Key:
    """What a key of the config says about itself, beside its type, its default and its description."""

    sb3: str = ""  # what Stable-Baselines3 calls it, where it has it
    may_change: bool = False  # whether a resumed run may have another: iterations, schedules aside, compute the same
    same_experiment: bool = False  # whether runs that differ in it belong together: no result should depend on it


class EnvConfig(values.Section):
    """The task: which environment, with which arguments, and how many copies of it."""

    id: Annotated[values.EnvId, Key("env")]
    """The Gymnasium id of the task."""
    kwargs: Annotated[values.EnvKwargs, Key("env_kwargs")] = {}  # noqa: RUF012 - copied
    """Arguments of the environment."""
    wrappers: Annotated[values.Wrappers, Key("env_wrapper")] = ()
    """What is put around the environment, one around the other: Gymnasium's wrappers, or module:Class; with
    `training_only` not in evaluations."""
    max_episode_steps: Annotated[values.Count | None, Key("TimeLimit")] = None
    """Env steps after which an episode is truncated; null for the task's own limit, or 10,000 where it has none."""
    info_keys: Annotated[values.InfoKeys, Key("Monitor info_keywords", same_experiment=True)] = ("is_success",)
    """Numbers in the info of an episode's last step that are logged, and averaged by evaluate."""
    action_masks: Annotated[values.Switch, Key("MaskablePPO")] = True
    """Whether actions that the environment says are not allowed are never taken."""
    pictures: Annotated[values.Switch, Key("CnnPolicy")] = True
    """Whether observations that look like pictures are seen as such, by a convolutional network, and not flattened."""
    num_envs: Annotated[int, values.whole_number(1, 10_000), Key("n_envs")] = 8
    """Copies of the environment that play side by side."""
    single_instance: Annotated[values.Switch, Key()] = False
    """Never make a second one, as of a simulator with a port: training and evaluations take turns; num_envs is 1."""
    backend: Annotated[Literal["gymnasium", "envpool", "vector"], Key()] = "gymnasium"
    """What steps them: Gymnasium, EnvPool's threads of C++ (an extra), or the environment's own vectorised form."""
    workers: Annotated[values.Workers, Key(may_change=True, same_experiment=True)] = "auto"
    """Processes that share the environments with the main one."""

    @property
    def task(self) -> dict[str, Any]:
        """What an episode depends on, beside its seed and its actions; the rest is how it is played."""
        return {name: getattr(self, name) for name in ("id", "kwargs", "wrappers", "max_episode_steps")}


class EvaluationConfig(values.Section):
    """What is otherwise wherever the agent is measured or watched: evaluations, solved checks, baselines, films."""

    env_kwargs: Annotated[values.EnvKwargs, Key()] = {}  # noqa: RUF012 - copied
    """Arguments of the environment that replace those of training, or are added to them."""


class MemoryConfig(values.Section):
    """What an agent remembers by."""

    kind: Literal["gru"] = "gru"
    """A gated recurrent unit."""
    size: values.MemorySize = 128
    """Numbers that are remembered, a multiple of 8."""


class NetworkConfig(values.Section):
    """The shape of the actor's and of the critic's network, and how they begin."""

    hidden_sizes: Annotated[values.HiddenSizes, Key("net_arch")] = (64, 64)
    """Units of each hidden layer."""
    cnn: Annotated[Literal["nature", "impala"], Key("features_extractor_class")] = "nature"
    """What pictures go through first: Nature's three convolutions, or the small residual network of IMPALA."""
    shared_cnn: Annotated[values.Switch, Key("share_features_extractor")] = True
    """Whether actor and critic see pictures through the same convolutions; in ppo alone."""
    memory: Annotated[MemoryConfig | None, Key("RecurrentPPO lstm_hidden_size")] = None
    """What remembers earlier observations, before those layers; in ppo alone."""
    critic_hidden_sizes: Annotated[values.HiddenSizes | None, Key("net_arch vf")] = None
    """Units of each of the critic's hidden layers; null for as many as the actor has."""
    activation: Annotated[Literal["tanh", "relu", "elu", "gelu", "silu"], Key("activation_fn")] = "tanh"
    """What each hidden layer ends with."""
    init: Annotated[Literal["orthogonal", "uniform"], Key("ortho_init")] = "orthogonal"
    """How weights begin: orthogonal, or as PyTorch draws them by itself."""
    log_std_init: Annotated[float, values.real_number(-10, 10), Key("log_std_init")] = 0.0
    """Logarithm of the standard deviation that real-valued actions begin with."""
    normalize_obs: Annotated[values.Switch, Key("VecNormalize norm_obs")] = True
    """Observations minus their running mean, over their running standard deviation."""


class RolloutConfig(values.Section):
    """What an iteration collects, and what it makes of the rewards."""

    horizon: Annotated[int, values.whole_number(1, 100_000), Key("n_steps")] = 128
    """Env steps in each environment between two updates."""
    gamma: Annotated[values.Fraction, Key("gamma")] = 0.995
    """Discount: a reward n steps away counts gamma^n."""
    gae_lambda: Annotated[values.Fraction, Key("gae_lambda")] = 0.95
    """GAE's λ: between one-step TD errors (0), which trust the critic, and Monte Carlo returns (1)."""
    reward_scale: Annotated[values.Positive, Key()] = 1.0
    """Rewards times this, for learning only."""
    normalize_rewards: Annotated[values.Switch, Key("VecNormalize norm_reward")] = True
    """Rewards over the running standard deviation of discounted returns, for learning only."""


class UpdateConfig(values.Section):
    """How a batch is learned from, whatever the algorithm."""

    learning_rate: Annotated[values.NumberOrSchedule, Key("learning_rate")] = values.Schedule(start=6e-4, end=1e-4)
    """Step size of Adam: of all that is learned, but of the critic alone in npg and trpo."""
    minibatch_size: Annotated[int, values.whole_number(2, MAX_BATCH_SIZE), Key("batch_size")] = 64
    """Samples in one gradient step; divides horizon × num_envs."""
    update_epochs: Annotated[int, values.whole_number(1, 1000), Key("n_epochs")] = 10
    """Passes over each batch; of the critic alone in vpg, npg and trpo, whose policy takes one step."""
    max_grad_norm: Annotated[values.Positive | None, Key("max_grad_norm")] = 0.5
    """Global norm that gradients are clipped to, where Adam takes the step; null for no limit."""
    ent_coef: Annotated[values.NumberOrSchedule, Key("ent_coef")] = 0.0
    """Weight of the entropy bonus, which keeps the policy random."""
    vf_coef: Annotated[values.NonNegative, Key("vf_coef")] = 0.5
    """Weight of the critic's loss beside the actor's; the other algorithms have an optimizer for each."""
    norm_adv: Annotated[values.Switch, Key("normalize_advantage")] = True
    """Advantages to mean 0, standard deviation 1 in each minibatch; in vpg, npg and trpo in the batch."""


class PPOConfig(values.Section):
    """What only PPO knows."""

    clip_coef: Annotated[values.NumberOrSchedule, Key("clip_range")] = 0.2
    """Clipping range ε: a probability ratio earns nothing beyond 1 ± ε."""
    clip_vloss: Annotated[values.Switch, Key("clip_range_vf")] = False
    """Clip the change of the critic's values to clip_coef, too."""
    target_kl: Annotated[values.Positive | None, Key("target_kl")] = None
    """An epoch whose approximate KL divergence is beyond this is the last; null for no limit."""


class VPGConfig(values.Section):
    """What only the vanilla policy gradient knows."""

    baseline: Annotated[values.Switch, Key()] = True
    """Learn values to measure advantages by; without, with a gae_lambda of 1 and no norm_adv, this is REINFORCE."""


class NPGConfig(values.Section):
    """What the natural policy gradient knows."""

    target_kl: Annotated[values.Positive, Key("target_kl")] = 0.01
    """KL divergence δ that an update moves the policy by."""
    cg_iterations: Annotated[int, values.whole_number(1, 1000), Key("cg_max_steps")] = 15
    """Conjugate gradient iterations, of two passes over the batch each."""
    cg_damping: Annotated[values.NonNegative, Key("cg_damping")] = 0.1
    """Added to the Fisher information's diagonal."""


class TRPOConfig(NPGConfig):
    """What TRPO knows: the natural gradient's keys, and how its step is taken back."""

    backtrack_steps: Annotated[int, values.whole_number(1, 1000), Key("line_search_max_iter")] = 10
    """How often a step is tried out, shorter each time; then there is none."""
    backtrack_ratio: Annotated[values.Fraction, Key("line_search_shrinking_factor")] = 0.8
    """What a step is multiplied by that moves the policy too far, or makes it no better."""


class TrainConfig(values.Section):
    """How long to train, from which seed, and how often to look at what was learned."""

    env_steps: Annotated[values.Count, Key("total_timesteps", may_change=True)] = 500_000
    """How long to train, in all environments together, rounded up to whole iterations."""
    schedule_env_steps: Annotated[values.Count | None, Key(may_change=True)] = None
    """Env steps after which schedules are at their end, and stay there; null for `train.env_steps`."""
    seed: Annotated[values.Seed, Key("seed", same_experiment=True)] = 0
    """Where all random numbers come from."""
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Key("device", same_experiment=True)] = "auto"
    """Where tensors are computed; auto is the CPU."""
    eval_interval: Annotated[values.Count, Key("EvalCallback eval_freq")] = 50_000
    """Env steps from one evaluation of the greedy policy to the next."""
    eval_episodes: Annotated[int, values.whole_number(1, 10_000), Key("EvalCallback n_eval_episodes")] = 20
    """Episodes of such an evaluation."""
    patience: Annotated[values.Count | None, Key("StopTrainingOnNoModelImprovement", may_change=True)] = None
    """Evaluations in a row without a better one after which training ends; null for no end but its own."""
    max_seconds: Annotated[values.Positive | None, Key(may_change=True, same_experiment=True)] = None
    """Seconds of training after which it ends, with the iteration that is under way; null for no such limit."""
    checkpoint_interval: Annotated[
        values.Count, Key("CheckpointCallback save_freq", may_change=True, same_experiment=True)
    ] = 100_000
    """Env steps from one checkpoint `last` to the next."""
    snapshots: Annotated[values.Snapshots, Key(may_change=True, same_experiment=True)] = "auto"
    """Copies of the agent that are kept over training, most of them early; auto is 5 of an agent below 1 MB."""
    tensorboard: Annotated[values.Switch, Key("tensorboard_log", may_change=True, same_experiment=True)] = False
    """Whether curves are written for TensorBoard, too, into the run's folder of that name; an extra."""
    target_return: Annotated[values.Finite | None, Key("StopTrainingOnRewardThreshold", may_change=True)] = None
    """Mean return that counts as solved; null for the task's own threshold."""


Algorithm = Literal["ppo", "vpg", "npg", "trpo"]
"""Each has a section of its name, what only it knows."""
ALGORITHMS: tuple[str, ...] = get_args(Algorithm)
