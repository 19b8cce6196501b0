"""How the false alarms that a model is allowed are shared among its streams."""

from ..settings import Settings

DETECTOR_SHARE = 0.8  # share of a stream's false alarms that its detector of predictions may raise


def run_time(settings: Settings) -> float:
    """Return the expected run time of each stream of a model, in the stream's own predictions.

    The budget is one false alarm in ERT predictions of the model, over all its streams: the whole model's, and
    for each of K slice tags the streams of its values. Let stream s see a share f_s of the model's predictions and
    run ERT_s of its own predictions between false alarms. By the renewal theorem it alarms f_s / ERT_s times a
    prediction of the model. Rates add up whatever the dependence between streams, so that the promise is

        1 / ERT_whole + sum_s f_s / ERT_s <= 1 / ERT.

    The values of one tag part the predictions: their shares add up to at most one (to less where the tag is missing).
    With (K + 1) ERT for every stream the left side is therefore at most (1 + K) / ((K + 1) ERT) = 1 / ERT: a
    prediction is processed by at most K + 1 detectors, and each of them may cost a (K + 1)th of the budget. This
    holds for any shares, so that nothing changes when a slice appears, grows, or is retired, nor with the number of
    slices. The price is ln(K + 1) nats of evidence: 0.7 with one tag, 1.1 with two.

    The detector of predictions and the two e-detectors of labels share the stream's budget: see `detector_run_time`
    and `SHARE_OF_BUDGET` of the labels' monitor.
    """
    return float(settings.expected_run_time * (len(settings.slice_tags) + 1))


def detector_run_time(settings: Settings) -> float:
    """Return the expected run time of a stream's detector of predictions; the rest of the budget is that of labels."""
    return run_time(settings) / DETECTOR_SHARE
