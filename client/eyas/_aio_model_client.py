"""What the asynchronous client does with models, their versions, aliases, policies and traffic."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime

from eyas import _model_calls
from eyas._aio_carrier import Carrier
from eyas._policy import Policy
from eyas._report import Report
from eyas._traffic import Canary, Shadow, Traffic
from eyas._types import Alias, Model, ModelVersion


class ModelClient(Carrier):
    """The methods of a client that are about models."""

    def list_models(self) -> AsyncIterator[Model]:
        """Yields every model, by name."""
        return self._pages(_model_calls.list_models)

    async def get_model(self, model: str) -> Model:
        """Returns a model."""
        return await self._run(_model_calls.get_model(model))

    def list_model_versions(self, model: str) -> AsyncIterator[ModelVersion]:
        """Yields a model's versions, newest first."""
        return self._pages(lambda token: _model_calls.list_model_versions(model, token))

    async def get_model_version(self, model: str, *, verify: bool = False) -> ModelVersion:
        """Returns a version; with `verify` each of its files is read, and `files` says what is wrong."""
        return await self._run(_model_calls.get_model_version(model, verify=verify))

    async def get_report(self, model: str) -> Report:
        """Returns the page that tells people about a version."""
        return await self._run(_model_calls.get_report(model))

    async def delete_model_version(self, model: str, version: int) -> None:
        """Deletes a version for good.

        Raises:
            FailedPrecondition: an alias points to it, or did so not long ago.
        """
        await self._run(_model_calls.delete_model_version(model, version))

    async def set_alias(self, model: str, alias: str, version: int, *, reason: str = "", force: bool = False) -> Alias:
        """Points an alias to a version; never repeated by itself."""
        return await self._run(_model_calls.set_alias(model, alias, version, reason, force=force))

    async def get_policy(self, model: str) -> Policy:
        """Returns what a model demands of the versions that its aliases are pointed to."""
        return await self._run(_model_calls.get_policy(model))

    async def set_policy(
        self,
        model: str,
        *,
        aliases: Iterable[str] = ("production",),
        at_least: Mapping[str, float] | None = None,
        at_most: Mapping[str, float] | None = None,
        max_label_drop: float | None = None,
        required_variants: Iterable[str] = (),
        no_significant_loss: bool = False,
    ) -> Policy:
        """Sets what a model demands from now on; without bounds, nothing. The arguments are the fields of `Policy`."""
        call = _model_calls.set_policy(
            model,
            aliases,
            at_least or {},
            at_most or {},
            max_label_drop,
            required_variants,
            no_significant_loss=no_significant_loss,
        )
        return await self._run(call)

    async def rollback_alias(
        self, model: str, alias: str = "production", *, reason: str = "", expected: int | None = None
    ) -> Alias:
        """Points an alias to where it pointed before it was last moved; see `Client.rollback_alias`."""
        return await self._run(_model_calls.rollback_alias(model, alias, reason, expected))

    def list_alias_records(self, model: str, alias: str = "production", *, at: datetime | None = None) -> AsyncIterator[Alias]:
        """Yields where an alias pointed, newest first; with `at`, an aware datetime, only what was in force then."""
        return self._pages(lambda token: _model_calls.list_alias_records(model, alias, at, token))

    async def get_traffic(self, model: str) -> Traffic:
        """Returns a model's canary and shadow."""
        return await self._run(_model_calls.get_traffic(model))

    async def set_traffic(
        self,
        model: str,
        *,
        canary: Canary | None = None,
        shadow: Shadow | None = None,
        reason: str = "",
        expected_record: int | None = None,
    ) -> Traffic:
        """Sets a model's canary and shadow; what is None ends. See `Client.set_traffic`."""
        return await self._run(_model_calls.set_traffic(model, canary, shadow, reason, expected_record))

    def list_traffic_records(self, model: str) -> AsyncIterator[Traffic]:
        """Yields what a model's canary and shadow were, newest first, and why a canary was rolled back."""
        return self._pages(lambda token: _model_calls.list_traffic_records(model, token))
