"""Tests of people's signatures."""
