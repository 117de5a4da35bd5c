"""`clerkmap completion`: the shell finishes what is typed."""

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="bash|zsh|fish")
def command(shell: str) -> None:
    """A script after which the shell finishes the names of commands and options. Put it where your shell begins:

    bash, in ~/.bashrc: eval "$(clerkmap completion bash)"

    zsh, in ~/.zshrc: eval "$(clerkmap completion zsh)"

    fish: clerkmap completion fish > ~/.config/fish/completions/clerkmap.fish
    """
    from click.shell_completion import get_completion_class

    from .commands import root

    made = get_completion_class(shell)
    assert made is not None
    script = made(root, {}, "clerkmap", "_CLERKMAP_COMPLETE")
    click.echo(script.source_template % script.source_vars())
