"""The exceptions of embedkit, drawn as one tree.

::

    EmbedkitError
    ├── UsageError (ValueError)                     an argument that cannot be honoured
    ├── MissingExtraError (ImportError)             an optional dependency is not installed
    ├── UnreadableFileError (ValueError)            a small file that is damaged, or no file of its kind
    ├── SourceError (ValueError)                    a source of images as a whole
    │   ├── SourceNotFoundError (FileNotFoundError)
    │   ├── EmptySourceError                        no image in it
    │   ├── ManifestError                           a manifest that cannot be understood
    │   └── ForbiddenUrlError                       a URL in data that embedkit does not follow
    ├── ImageError (ValueError)                     one image; becomes a row of the ledger of failures
    │   ├── UnreadableImageError (OSError)          its bytes could not be had: tried again by the next run
    │   └── UndecodableImageError                   its bytes are no image: remembered by digest
    ├── BackboneError
    │   ├── UnknownModelError (LookupError)
    │   ├── WeightsError (ValueError)               weights that do not fit the architecture
    │   │   └── WeightsNotFoundError (FileNotFoundError)
    │   ├── DeviceError (RuntimeError)              a device, engine or precision that was named is not available
    │   └── DriftError (ValueError)                 features too far from the fp32 reference
    ├── SpecMismatchError (ValueError)              features of two specs that must not be mixed
    ├── StoreError
    │   ├── StoreNotFoundError (FileNotFoundError)
    │   ├── StoreFormatError (ValueError)           not a store, or one of a newer major version
    │   ├── StoreLostError (OSError)                its folder is gone, or another one: a lost mount
    │   ├── StoreWriteError (OSError)               disk full, read-only folder, ...: committed rows are intact
    │   ├── DamagedPartError (OSError)              a part whose bytes do not match its name
    │   └── MissingRowsError (KeyError)             digests that the store does not hold
    ├── FeatureFileError
    │   ├── FeatureFileNotFoundError (FileNotFoundError)
    │   ├── FeatureFileFormatError (ValueError)     not a feature file, or one of a newer major version
    │   ├── DamagedFeatureFileError (OSError)       bytes that do not match the trailer
    │   ├── UnsafeFeatureFileError (ValueError)     links, external storage, filters or sizes that a reader refuses
    │   └── OutputExistsError (FileExistsError)     an output that would be overwritten
    ├── PlanError                                   a planned extraction cannot go on
    │   ├── PlanNotFoundError (FileNotFoundError)
    │   ├── PlanFormatError (ValueError)            not a plan, a damaged one, or one of a newer version
    │   ├── IncompletePlanError (RuntimeError)      rows that no unit has settled yet
    │   └── WorkerDiedError (RuntimeError)          a process that ended without a word
    ├── ProbeError (ValueError)                     features on which the question asked has no answer
    │   ├── LabelsError                             labels missing, or of one class only
    │   └── SplitError                              no usable train and test split
    ├── AdaptationError (ValueError)                a backbone that cannot be tuned as asked, or tuning that diverges
    ├── ResultFileError (ValueError)                a saved result that cannot be read: damaged, newer, or none
    ├── StatisticsFileError (ValueError)            statistics of a site that cannot be read or are none
    └── ModelFileError
        ├── ModelFileNotFoundError (FileNotFoundError)
        ├── ModelFileFormatError (ValueError)
        ├── UntrustedModelError (ValueError)        types outside the allow-list, or a pickle
        └── ModelExportError (ValueError)           no form for other runtimes, or another outcome there

A message says what was got, what was expected and what to do next, on one line. The objects concerned travel as
attributes of the exception. Each leaf also derives from the built-in that a caller would expect to catch.

Layer: the bottom. Imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence


class EmbedkitError(Exception):
    """Base of every error that embedkit raises on purpose."""

    def __str__(self) -> str:
        # KeyError and OSError format their arguments in ways of their own; a message is shown as written, on one line
        # also where it repeats what a library said on several.
        return " ".join(map(str.strip, str(self.args[0]).splitlines())) if self.args else ""


class UsageError(EmbedkitError, ValueError):
    """An argument that cannot be honoured."""


class MissingExtraError(EmbedkitError, ImportError):
    """An optional dependency is needed and not installed."""


class UnreadableFileError(EmbedkitError, ValueError):
    """A small file beside the features (a memo, a record, a result) that is damaged, or none of its kind."""


class SourceError(EmbedkitError, ValueError):
    """A source of images cannot be used."""


class SourceNotFoundError(SourceError, FileNotFoundError):
    """The folder or manifest does not exist."""


class EmptySourceError(SourceError):
    """The source holds no image."""


class ManifestError(SourceError):
    """A manifest cannot be understood."""


class ForbiddenUrlError(SourceError):
    """Data name a URL that is followed only where the user names it."""


class ImageError(EmbedkitError, ValueError):
    """One image cannot become features; the message is the reason kept in the ledger of failures."""


class UnreadableImageError(ImageError, OSError):
    """The bytes of an image could not be read; the next run tries again."""


class UndecodableImageError(ImageError):
    """The bytes of an image are not an image that embedkit accepts; remembered by digest."""


class BackboneError(EmbedkitError):
    """A backbone cannot be built or run."""


class UnknownModelError(BackboneError, LookupError):
    """timm knows no model of this name."""


class WeightsError(BackboneError, ValueError):
    """Weights that do not fit the architecture."""


class WeightsNotFoundError(WeightsError, FileNotFoundError):
    """The file of weights is not there, and no hub could be reached."""


class DeviceError(BackboneError, RuntimeError):
    """A device, engine or precision was named that this machine does not have."""


class DriftError(BackboneError, ValueError):
    """An engine or precision whose features stray too far from the fp32 reference."""


class SpecMismatchError(EmbedkitError, ValueError):
    """Features of two specs meet where only one is allowed.

    Attributes
    ----------
    differences : sequence of (field, got, expected)
        The fields that differ, by their dotted names.
    """

    def __init__(self, message: str, differences: Sequence[tuple[str, object, object]] = ()) -> None:
        super().__init__(message)
        self.differences = tuple(differences)


class StoreError(EmbedkitError):
    """A feature store cannot serve."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """No store at this path."""


class StoreFormatError(StoreError, ValueError):
    """Not a store, or one written by a newer major version."""


class StoreLostError(StoreError, OSError):
    """The folder of a store is no longer the one that was opened; what was acknowledged is where it was written."""


class StoreWriteError(StoreError, OSError):
    """A part could not be committed; everything committed before is intact."""


class DamagedPartError(StoreError, OSError):
    """A part whose bytes do not match the length and digest in its name."""


class MissingRowsError(StoreError, KeyError):
    """Digests that the store does not hold."""


class FeatureFileError(EmbedkitError):
    """A feature file cannot be read or written."""


class FeatureFileNotFoundError(FeatureFileError, FileNotFoundError):
    """No feature file at this path."""


class FeatureFileFormatError(FeatureFileError, ValueError):
    """Not a feature file, or one written by a newer major version."""


class DamagedFeatureFileError(FeatureFileError, OSError):
    """A feature file whose bytes do not match its trailer."""


class UnsafeFeatureFileError(FeatureFileError, ValueError):
    """A file that uses an HDF5 feature which a reader must refuse from strangers."""


class OutputExistsError(FeatureFileError, FileExistsError):
    """Writing would replace something that is not contained in what is written."""


class PlanError(EmbedkitError):
    """A planned extraction cannot go on."""


class PlanNotFoundError(PlanError, FileNotFoundError):
    """No plan at this path."""


class PlanFormatError(PlanError, ValueError):
    """Not a plan, a damaged one, or one written by a newer version."""


class IncompletePlanError(PlanError, RuntimeError):
    """Some rows of the plan were not settled by any unit yet."""


class WorkerDiedError(PlanError, RuntimeError):
    """A process that was computing features ended without saying why."""


class ProbeError(EmbedkitError, ValueError):
    """The features given cannot answer the question asked."""


class LabelsError(ProbeError):
    """Labels are missing, or there is one class only."""


class SplitError(ProbeError):
    """There is no usable train and test split."""


class AdaptationError(EmbedkitError, ValueError):
    """A backbone cannot be tuned as asked, or tuning came to nothing."""


class ResultFileError(EmbedkitError, ValueError):
    """A saved result cannot be read: it is damaged, of a newer schema, or no result at all."""


class StatisticsFileError(EmbedkitError, ValueError):
    """The statistics of a site cannot be read: the file is damaged, newer, made up, or none of its kind."""


class ModelFileError(EmbedkitError):
    """A model file cannot be read or written."""


class ModelFileNotFoundError(ModelFileError, FileNotFoundError):
    """No model file at this path."""


class ModelFileFormatError(ModelFileError, ValueError):
    """Not a model file of embedkit."""


class UntrustedModelError(ModelFileError, ValueError):
    """The file holds types outside the allow-list, or is a pickle."""


class ModelExportError(ModelFileError, ValueError):
    """A pipeline cannot be written for other runtimes, or what was written does not do the same."""
