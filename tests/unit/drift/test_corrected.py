import numpy as np

from tidemark.drift.temperature_scaling import correct


def test_posteriors_follow_the_priors_by_bayes() -> None:
    likelihood = np.array([[0.2, 0.5, 0.1], [0.7, 0.1, 0.3]])  # of two images under three classes
    before, after = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])

    def posterior(prior: np.ndarray) -> np.ndarray:
        joint = likelihood * prior
        return np.asarray(joint / joint.sum(axis=1, keepdims=True))

    np.testing.assert_allclose(correct(posterior(before), after / before), posterior(after))


def test_a_row_without_any_weight_stays() -> None:
    np.testing.assert_array_equal(correct(np.array([[1.0, 0.0]]), np.array([0.0, 2.0])), [[1.0, 0.0]])
