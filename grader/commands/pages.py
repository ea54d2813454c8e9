"""Write the generated parts of the site's pages and of the README: tables, mistakes, the reference."""

import argparse

DRIFTED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit with 1 and name the regions that are not as the course makes them",
    )


def run(options: argparse.Namespace) -> int:
    """Fill the regions, or compare them."""
    from grader.judge.paths import ROOT
    from grader.pages.regions import filled_pages
    from lessons.engine.files import write_atomically

    count, drifted = 0, 0
    for page, text, changed in filled_pages(ROOT):
        count += text.count("<!-- generated: ")
        drifted += len(changed)
        for region in changed:
            name = page.relative_to(ROOT).as_posix()
            print(f"{name}: {region}{' differs' if options.check else ' written'}")
        if changed and not options.check:
            with write_atomically(page) as file:
                file.write(text)
    if options.check and drifted:
        print("`python -m grader pages` writes them")
        return DRIFTED
    print(f"{count} regions, {'all up to date' if options.check else f'{drifted} written'}")
    return 0
