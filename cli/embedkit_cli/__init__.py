"""The command line of embedkit: each command parses, calls one public function and prints."""
