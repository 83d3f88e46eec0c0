"""Workflows: what a person asks for, one function each. They resolve a TARGET to tables and return plain records.

Layer: above everything but the command line. Never imports click, never prints.
"""
