"""Readers and writers of weight files; reading executes nothing."""
