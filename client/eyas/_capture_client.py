"""What the synchronous client does with captured pictures of production."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from eyas import _capture_calls
from eyas._capture import CapturedPicture, CapturePolicy, CaptureReason, Labelling, labelling
from eyas._carrier import Carrier


class CaptureClient(Carrier):
    """The calls of `CaptureService`."""

    def get_capture_policy(self, model: str) -> CapturePolicy:
        """Returns which pictures of a model are kept to learn from."""
        return self._run(_capture_calls.get_capture_policy(model))

    def set_capture_policy(
        self,
        model: str,
        *,
        enabled: bool,
        reasons: Iterable[CaptureReason | str] = (),
        percent: float | None = None,
        max_margin: float | None = None,
        max_images: int | None = None,
        keep_days: float | None = None,
    ) -> CapturePolicy:
        """Sets which pictures of a model are kept from now on.

        The arguments are the fields of `CapturePolicy`; what is None is the default, not what was before, and no reasons are all.
        """
        call = _capture_calls.set_capture_policy(
            model,
            enabled=enabled,
            reasons=reasons,
            percent=percent,
            max_margin=max_margin,
            max_images=max_images,
            keep_days=keep_days,
        )
        return self._run(call)

    def list_captured(
        self,
        model: str,
        *,
        reasons: Iterable[CaptureReason | str] = (),
        labelled: bool | None = None,
        predicted: str = "",
    ) -> Iterator[CapturedPicture]:
        """Yields the pictures that are kept of a model, newest first.

        Args:
            model: whose they are.
            reasons: only those that are kept for one of these; empty is any.
            labelled: only those that have labels, or have none; None is both.
            predicted: only those that were given this label; "" is any.
        """
        return self._pages(lambda token: _capture_calls.list_captured(model, reasons, labelled, predicted, token))

    def get_captured(self, model: str, picture: str) -> tuple[CapturedPicture, bytes]:
        """Returns a picture by its id, and its file."""
        return self._run(_capture_calls.get_captured(model, picture))

    def label_captured(self, model: str, labels: Mapping[str, str | Iterable[str]]) -> Labelling:
        """Takes down what a person says that pictures show: of each id its label, or in a multi-label model its labels.

        Raises:
            InvalidArgument: one can be no label, or one picture of a model that is not multi-label has several.
        """
        return labelling([self._run(call) for call in _capture_calls.label_captured(model, labels)])

    def delete_captured(self, model: str, pictures: Iterable[str]) -> int:
        """Deletes pictures by their ids, for good, and returns how many there were."""
        return sum([self._run(call) for call in _capture_calls.delete_captured(model, pictures)])
