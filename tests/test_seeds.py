from itertools import product

from ppocli.seeds import Purpose, Stream, evaluation_seeds, generator, training_seeds


def test_streams_share_nothing():
    keys = [(seed, stream, *key) for seed, stream, key in product((0, 1), Stream, [(), (0,), (1,), (0, 0), (0, 1)])]
    draws = {generator(*key).integers(2**63) for key in keys}
    assert len(draws) == len(keys)


def test_a_stream_is_always_the_same():
    assert generator(3, Stream.SHUFFLING, 7).random(5).tolist() == generator(3, Stream.SHUFFLING, 7).random(5).tolist()


def test_no_purpose_ever_meets_another():
    seeds = {purpose: set(evaluation_seeds(0, purpose, 1000)) for purpose in Purpose if purpose}
    training = training_seeds(0)
    seeds[Purpose.TRAINING] = {training(environment, episode) for environment in range(20) for episode in range(50)}
    # The purpose stands in the two highest of 31 bits, so this holds for every seed there can be.
    for purpose, values in seeds.items():
        assert {value >> 29 for value in values} == {purpose}
        assert max(values) < 2**31


def test_evaluation_seeds_are_distinct_and_asking_for_more_only_appends():
    seeds = evaluation_seeds(0, Purpose.EVALUATION, 1000)
    assert len(set(seeds)) == 1000
    assert evaluation_seeds(0, Purpose.EVALUATION, 10) == seeds[:10]
    assert not set(seeds) & set(evaluation_seeds(1, Purpose.EVALUATION, 1000))


def test_a_training_seed_depends_on_seed_environment_and_episode():
    seeds = {training_seeds(seed)(environment, episode) for seed, environment, episode in product(range(5), repeat=3)}
    assert len(seeds) == 125
