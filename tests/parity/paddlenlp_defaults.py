"""Print what PaddleNLP's configs say by themselves, and what its models take, in order.

python paddlenlp_defaults.py NAME …
"""

import inspect
import json
import sys

import paddlenlp.transformers

found = {}
for name in sys.argv[1:]:
    cls = getattr(paddlenlp.transformers, name, None)
    if cls is None:
        found[name] = None
    elif name.endswith("Config"):
        values = vars(cls())
        plain = (int, float, str, type(None), dict)
        found[name] = {key: value for key, value in values.items() if isinstance(value, plain)}
    else:
        found[name] = [*inspect.signature(cls.forward).parameters]
print(json.dumps(found))
