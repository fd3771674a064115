"""
Draw the pictures of test_drawing anew.

    PYTHONPATH=tests python tests/unit/operator/drawings/draw.py

Look at each before it is kept.
"""

from unit.operator.test_drawing import DRAWINGS, NOW, STORIES, draw_record

for name, (make, look) in STORIES.items():
    text = "\n".join(draw_record(make(), look, NOW)) + "\n"
    (DRAWINGS / f"{name}.txt").write_text(text, encoding="utf-8")
