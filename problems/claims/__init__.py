"""Every quantitative claim of the source documents as code that measures it, and the verdict that follows.

A claim is a record (`Claim`) with a function that measures it (`Evidence`, made of `Check`s); `CLAIMS` lists them by
name, and `hjpde claims` runs them. Each file holds the claims about one subject as a tuple, which `_catalogue.py`
joins.
"""

from ._catalogue import CLAIMS as CLAIMS
from ._catalogue import find_claims as find_claims
from ._claim import Check as Check
from ._claim import Claim as Claim
from ._claim import Evidence as Evidence
from ._claim import Setting as Setting
from ._claim import Verdict as Verdict
