"""``python -m embedkit_cli``, the console script ``embedkit`` by another name."""

from embedkit_cli.interrupts import leave_at_once

if __name__ == "__main__":
    leave_at_once()
    from embedkit_cli.main import main

    main()
