"""Callers in a pod: they classify without a pause, and say once a second how many calls were answered, and why how many were not.

Run by the image of the server, which has the client: `python -c LOAD ADDRESS MODEL`.
"""

import io
import json
import sys
import threading
import time
from collections import Counter

from PIL import Image

import eyas

CALLERS = 4
answered = [0] * CALLERS
failed: Counter[str] = Counter()


def call(number: int) -> None:
    """Classifies the same picture for ever, through a connection of its own."""
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, "PNG")
    with eyas.Client(sys.argv[1]) as client:
        while True:
            try:
                client.classify(sys.argv[2], buffer.getvalue())
                answered[number] += 1
            except eyas.EyasError as error:
                failed[f"{type(error).__name__}: {error}"] += 1


for number in range(CALLERS):
    threading.Thread(target=call, args=(number,), daemon=True).start()
while True:
    time.sleep(1)
    sys.stdout.write(json.dumps({"answered": sum(answered), "failed": failed}) + "\n")
    sys.stdout.flush()
