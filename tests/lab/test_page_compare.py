"""The view Compare in a real browser."""

from io import BytesIO
from pathlib import Path

from lab_tab import Tab
from PIL import Image
from scored_runs import write_run

PIXELS = "(node) => Array.from(node.getContext('2d').getImageData(0, 0, node.width, node.height).data)"


def test_scores_are_compared_once_two_runs_have_them_and_a_copy_of_a_training_image_is_found(tab: Tab, runs: Path):
    page = tab.open("compare")
    page.get_by_text("No run has scores yet. limpid evaluate RUN measures them").wait_for()
    for name, value in (("first", 10.0), ("second", 14.0)):
        write_run(runs / name, value)
    page.reload()
    page.locator("tr.apart", has_text="A is better").wait_for()
    page.get_by_role("button", name="Exchange A and B").click()
    page.locator("tr.apart", has_text="B is better").wait_for()
    page.keyboard.press("x")
    page.locator("tr.apart", has_text="A is better").wait_for()
    page.get_by_role("tab", name="Is it a copy?").click()
    page.get_by_label("Model", exact=True).select_option(label="first")
    page.get_by_label("Image from").select_option("training")
    page.locator(".thumbnails button").nth(3).click()
    page.get_by_text("Ratio 0.00").wait_for()
    image, nearest = (page.get_by_label(label, exact=True) for label in ("The image", "Training image 3"))
    assert image.evaluate(PIXELS) == nearest.first.evaluate(PIXELS)
    assert page.locator(".neighbours canvas").count() == 9


def test_a_file_is_searched_and_the_tab_and_the_model_come_back_after_a_reload(tab: Tab, runs: Path):
    write_run(runs / "third", None)
    page = tab.open("compare")
    page.get_by_role("tab", name="Is it a copy?").click()
    page.get_by_label("Model", exact=True).select_option(label="third")
    page.get_by_text("No samples yet").wait_for()
    page.get_by_label("Image from").select_option("file")
    file = BytesIO()
    Image.effect_mandelbrot((90, 60), (-2, -1, 1, 1), 40).save(file, "png")
    mandelbrot = {"name": "mandelbrot.png", "mimeType": "image/png", "buffer": file.getvalue()}
    page.locator("input[type=file]").set_input_files(mandelbrot)
    page.locator(".neighbours", has_text="mandelbrot.png").wait_for()
    page.reload()
    page.locator("[aria-selected=true]", has_text="Is it a copy?").wait_for()
    assert page.get_by_label("Model", exact=True).input_value().endswith("third")
    page.get_by_text("Choose a sample, a training image or a file").wait_for()
