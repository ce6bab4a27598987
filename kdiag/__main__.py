"""``python -m kdiag``, ``kdiag`` and ``kubectl kdiag``."""

import os
import sys


def main() -> None:
    """Run, and leave with the exit code. What asks for the version alone pays for nothing else."""
    try:
        if sys.argv[1:] in (["--version"], ["version"]):
            from kdiag import __version__

            _say(f"kdiag {__version__}\n".encode())
            return
        from kdiag.cli.main import run

        # kubectl asks kubectl_complete-kdiag for the completions of its plugin.
        asked = os.path.basename(sys.argv[0]).startswith("kubectl_complete-")
        run(["__complete", "--", *sys.argv[1:]] if asked else sys.argv[1:])
    except KeyboardInterrupt:
        # Before the command line could take care of it, or a second time while it did.
        os.write(2, b"kdiag: interrupted\n")
        os._exit(130)


def _say(text: bytes) -> None:
    try:
        os.write(1, text)
    except BrokenPipeError:
        pass
    except OSError as exc:
        os.write(2, f"kdiag: cannot write the output: {exc.strerror}\n".encode())
        os._exit(3)


if __name__ == "__main__":
    main()
