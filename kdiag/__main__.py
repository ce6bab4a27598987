"""``python -m kdiag``, ``kdiag`` and ``kubectl kdiag``."""

import sys


def main() -> None:
    """Run, and leave with the exit code. What asks for the version alone pays for nothing else."""
    if sys.argv[1:] in (["--version"], ["version"]):
        from kdiag import __version__

        sys.stdout.write(f"kdiag {__version__}\n")
        return
    from kdiag.cli.main import run

    run(sys.argv[1:])


if __name__ == "__main__":
    main()
