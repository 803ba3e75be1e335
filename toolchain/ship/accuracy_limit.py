"""What ``--max-accuracy-drop`` can come to with the test images at hand."""

from collections.abc import Sequence

from fednas.export import Model, images_enough_for, percent_rounded_up, range_of_smallest_limits


def too_few_images(limit: float | None, images: int) -> str:
    """Before any work: that so many test images cannot show ``limit`` kept; empty where they may, or without a limit.

    Where it hangs on how many of them the source gets right, nothing is said yet: `limits_not_shown` knows.
    """
    least, enough = range_of_smallest_limits(images)
    if limit is None or limit >= least:
        return ""
    first, last = percent_rounded_up(least), percent_rounded_up(enough)
    return (
        f"--max-accuracy-drop {100 * limit:g}% cannot be shown with {images:,} test images: even for a file that is "
        f"right on just the same ones as its source they cannot rule out a loss of {first}% to {last}%, by how many "
        "these are; so it ends as cannot tell (exit code 5) or worse, unless a file is right on more. Give --data with "
        f"{images_enough_for(limit):,} test images or more, or allow {last}%"
    )


def limits_not_shown(models: Sequence[Model]) -> tuple[str, ...]:
    """Afterwards: limits that remain open whatever the files do, because there are too few test images."""
    drops = [evidence.drop for model in models for evidence in model.all_evidence]
    return tuple(
        dict.fromkeys(
            f"Accuracy limit: {drop.too_few_images}, even for a file that is right on just the same ones as its "
            "source; more test images, or a larger --max-accuracy-drop, can tell."
            for drop in drops
            if drop is not None and drop.too_few_images
        )
    )
