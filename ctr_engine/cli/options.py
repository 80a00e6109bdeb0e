"""Parameters from flags, JSON, ``@file`` and ``--config``; a flag wins over the file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ctr_engine.errors import ConfigError, Fault, ParameterError

if TYPE_CHECKING:
    from ctr_engine.documents import Document
    from ctr_engine.params import Params
    from ctr_engine.refinement.params import PipelineParams

AnyParams = TypeVar("AnyParams", bound="Params")


def read_document(path: Path) -> "Document":
    """Read a JSON or YAML file of parameters.

    Raises
    ------
    ConfigError
        If it is missing, not well formed, or gives a key twice.
    """
    return _without_duplicates(read_any(path))


def read_any(path: Path) -> "Document":
    """Read a JSON or YAML file; it may give a key twice, which the document then tells.

    Raises
    ------
    ConfigError
        If it is missing or not well formed.
    """
    from ctr_engine.documents import parse_document

    return parse_document(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Read a text file.

    Raises
    ------
    ConfigError
        If it is missing, or is not UTF-8.
    """
    if not path.is_file():
        raise ConfigError(str(path), [Fault("there is no such file")])
    try:
        return path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise ConfigError(str(path), [Fault(f"cannot be read as UTF-8 text: {error}")]) from None


def document_of(text: str, source: str) -> "Document":
    """Parse a text that was read from a JSON or YAML file.

    Raises
    ------
    ConfigError
        If it is not well formed, or gives a key twice.
    """
    from ctr_engine.documents import parse_document

    return _without_duplicates(parse_document(text, source))


def read_setting(text: str, flag: str) -> "Document":
    """Read the value of a flag: JSON, or ``@FILE`` with JSON or YAML."""
    from ctr_engine.documents import parse_document

    if text.startswith("@"):
        return read_document(Path(text[1:]))
    return _without_duplicates(parse_document(text, flag))


def _without_duplicates(document: "Document") -> "Document":
    if document.duplicates:
        faults = [
            Fault(f"{place[-1]!r} is given twice", line=line) for place, line in document.duplicates
        ]
        raise ConfigError(document.source, faults)
    return document


def validated(model: "type[AnyParams]", document: "Document", value: object) -> "AnyParams":
    """Make parameters of a document's content, all faults with their line.

    Raises
    ------
    ConfigError
        If something is unknown or out of range.
    """
    from pydantic import ValidationError

    from ctr_engine.params import faults_of

    try:
        return model.model_validate(value)
    except ValidationError as error:
        many_lines = len(set(document.lines.values())) > 1
        faults = faults_of(error, model, lambda loc: document.line(loc) if many_lines else None)
        raise ConfigError(document.source, faults) from None


def pipeline_params(
    *,
    config: Path | None,
    profile: str | None,
    scoring: str | None,
    gating: str | None,
    expression: dict[str, Any],
    clustering: dict[str, Any],
    preset: str | None = None,
    report: dict[str, Any] | None = None,
    refinement: str | None = None,
    refinement_preset: str | None = None,
) -> "PipelineParams":
    """Parameters of a run: ``--config`` first, then each flag over it.

    Parameters
    ----------
    expression, clustering, report
        Values of flags by the name of their parameter; None where the flag was not given.
    """
    from ctr_engine.documents import Document
    from ctr_engine.params import layered
    from ctr_engine.refinement.params import PipelineParams

    params = read_params(config)
    sections: dict[str, Any] = {
        name: {key: value for key, value in given.items() if value is not None}
        for name, given in (
            ("expression", expression),
            ("clustering", clustering),
            ("report", report or {}),
        )
    }
    for name, text in (("scoring", scoring), ("gating", gating), ("refinement", refinement)):
        if text is not None:
            document = read_setting(text, f"--{name}-params")
            section = PipelineParams.model_fields[name].annotation
            sections[name] = validated(section, document, document.value)  # type: ignore[arg-type]
    names = {"profile": profile, "preset": preset, "refinement_preset": refinement_preset}
    sections |= {name: value for name, value in names.items() if value is not None}
    given = {name: value for name, value in sections.items() if value != {}}
    return layered(params, validated(PipelineParams, Document("command line"), given))


def read_params(config: Path | None) -> "PipelineParams":
    """Read a parameter file; without one nothing is set.

    Raises
    ------
    ConfigError
        If something in it is unknown or out of range.
    """
    from ctr_engine.refinement.params import PipelineParams

    if config is None:
        return PipelineParams()
    document = read_document(config)
    return validated(PipelineParams, document, document.value or {})


def names_in(text: str | None) -> tuple[str, ...] | None:
    """Names between commas; None where the flag was not given."""
    return None if text is None else tuple(n.strip() for n in text.split(",") if n.strip())


def one_input(
    argument: Path | None,
    option: Path | None,
    usage: str = "ctr annotate SAMPLE.h5ad --marker-map MAP.json",
) -> Path:
    """Take the input from its argument or from ``--input``; ``usage`` is shown with the error.

    Raises
    ------
    ParameterError
        If there is none, or two that differ.
    """
    given = {path for path in (argument, option) if path is not None}
    if len(given) != 1:
        what = "is missing" if not given else "is given twice, as an argument and as --input"
        msg = f"The input {what}. Write: {usage}"
        raise ParameterError(msg)
    return given.pop()
