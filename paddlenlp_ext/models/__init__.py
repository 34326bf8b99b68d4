"""One file a model family; `paddlenlp_ext.transformers` has the public names.

The one package that does something when it is imported: the settings of `runtime` work only if they
are made before Paddle is imported, and whoever imports a model is about to do that.
"""

from paddlenlp_ext.process import runtime

runtime.tune()
runtime.import_paddle()
