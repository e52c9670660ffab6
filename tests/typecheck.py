"""What checks every annotation of limpid, shapes included, while its tests run."""

from beartype import BeartypeConf, beartype

# A whole number may stand where a number is asked for, as Python's typing has it.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
