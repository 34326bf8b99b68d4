"""The logger of PaddleNLP's scripts."""

import logging

logger = logging.getLogger("PaddleNLP")
