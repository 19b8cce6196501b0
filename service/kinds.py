"""The kinds of drift in words for people: one table for the pages and for the reports of remedies."""

KIND_DESCRIPTIONS = {
    "none": "no shift",
    "covariate": "covariate shift: the images look different",
    "label": "label shift: the classes come in other proportions",
    "both": "covariate and label shift: other images in other proportions",
    "concept": "concept shift: the same images now mean other labels",
    "harm": "harm: labels show that the model became worse",
    "unknown": "a shift whose kind cannot be named without true labels in the reference",
    "repeats": "repeats: the same images again and again",
}
