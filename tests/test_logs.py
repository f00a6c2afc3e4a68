from ppocli.logs import (
    EPISODE_COLUMNS,
    METRICS_COLUMNS,
    Metrics,
    PhaseSeconds,
)


def metrics(**changes):
    return Metrics(**dict.fromkeys(METRICS_COLUMNS, 1) | changes)


def test_columns_are_the_contracts():
    assert ",".join(METRICS_COLUMNS) == (
        "iteration,env_steps,seconds,env_steps_per_second,rollout_seconds,update_seconds,evaluation_seconds,episodes,"
        "return_mean,return_min,return_max,length_mean,policy_loss,value_loss,entropy,approx_kl,clip_fraction,"
        "explained_variance,gradient_norm,learning_rate,eval_return_mean"
    )
    assert ",".join(EPISODE_COLUMNS) == (
        "episode,env_steps,seconds,environment,seed,episode_return,episode_length,terminated,truncated"
    )


def test_where_the_time_went():
    shares = {"rollout_seconds": 1.0, "update_seconds": 0.5, "evaluation_seconds": 0.25}
    history = [metrics(seconds=3.75, **shares), metrics(seconds=5.5, **shares)]
    phases = PhaseSeconds()
    for row in history:
        phases.add(row)
    assert phases.shares(wall_seconds=6.0) == {
        "start_up": 2.0,
        "rollout": 2.0,
        "update": 1.0,
        "evaluation": 0.5,
        "other": 0.5,
    }
