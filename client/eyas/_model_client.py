"""What the synchronous client does with models, their versions, aliases, policies and traffic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from eyas import _model_calls
from eyas._carrier import Carrier
from eyas._policy import Policy
from eyas._report import Report
from eyas._traffic import Canary, Shadow, Traffic
from eyas._types import Alias, Model, ModelVersion


class ModelClient(Carrier):
    """The methods of a client that are about models."""

    def list_models(self) -> Iterator[Model]:
        """Yields every model, by name."""
        return self._pages(_model_calls.list_models)

    def get_model(self, model: str) -> Model:
        """Returns a model."""
        return self._run(_model_calls.get_model(model))

    def list_model_versions(self, model: str) -> Iterator[ModelVersion]:
        """Yields a model's versions, newest first."""
        return self._pages(lambda token: _model_calls.list_model_versions(model, token))

    def get_model_version(self, model: str, *, verify: bool = False) -> ModelVersion:
        """Returns a version, named as in `classify`; with `verify` each of its files is read, and `files` says what is wrong."""
        return self._run(_model_calls.get_model_version(model, verify=verify))

    def get_report(self, model: str) -> Report:
        """Returns the page that tells people about a version, named as in `classify`."""
        return self._run(_model_calls.get_report(model))

    def delete_model_version(self, model: str, version: int) -> None:
        """Deletes a version for good.

        Raises:
            FailedPrecondition: an alias points to it, or did so not long ago.
        """
        self._run(_model_calls.delete_model_version(model, version))

    def set_alias(self, model: str, alias: str, version: int, *, reason: str = "", force: bool = False) -> Alias:
        """Points an alias to a version; never repeated by itself, as somebody may have moved it meanwhile.

        Raises:
            FailedPrecondition: the model's policy demands more of the version, and `force` is not set.
        """
        return self._run(_model_calls.set_alias(model, alias, version, reason, force=force))

    def get_policy(self, model: str) -> Policy:
        """Returns what a model demands of the versions that its aliases are pointed to."""
        return self._run(_model_calls.get_policy(model))

    def set_policy(
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
        return self._run(call)

    def rollback_alias(self, model: str, alias: str = "production", *, reason: str = "", expected: int | None = None) -> Alias:
        """Points an alias to where it pointed before it was last moved; a second call goes one version further back.

        Args:
            model: of the alias.
            alias: to roll back.
            reason: kept in its history.
            expected: the version to get rid of; if the alias points elsewhere, nothing is done and Conflict is raised.
        """
        return self._run(_model_calls.rollback_alias(model, alias, reason, expected))

    def list_alias_records(self, model: str, alias: str = "production", *, at: datetime | None = None) -> Iterator[Alias]:
        """Yields where an alias pointed, newest first; with `at`, an aware datetime, only what was in force then."""
        return self._pages(lambda token: _model_calls.list_alias_records(model, alias, at, token))

    def get_traffic(self, model: str) -> Traffic:
        """Returns a model's canary and shadow."""
        return self._run(_model_calls.get_traffic(model))

    def set_traffic(
        self,
        model: str,
        *,
        canary: Canary | None = None,
        shadow: Shadow | None = None,
        reason: str = "",
        expected_record: int | None = None,
    ) -> Traffic:
        """Sets a model's canary and shadow; what is None ends.

        Args:
            model: whose `production` they are beside.
            canary: answers a share of the requests.
            shadow: sees a share of the requests.
            reason: kept in the history.
            expected_record: the `record` that the caller has seen; if another is in force, nothing is done and Conflict is
                raised. None is whatever it is.
        """
        return self._run(_model_calls.set_traffic(model, canary, shadow, reason, expected_record))

    def list_traffic_records(self, model: str) -> Iterator[Traffic]:
        """Yields what a model's canary and shadow were, newest first, and why a canary was rolled back."""
        return self._pages(lambda token: _model_calls.list_traffic_records(model, token))
