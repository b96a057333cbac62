#!/usr/bin/env python3
"""Checks the dependency tree: licences, sources, and what core must not pull in.

Reads Cargo.lock through `cargo metadata`; needs no network beyond what a build needs.
"""
import json
import re
import subprocess
import sys

ALLOWED = {
    "MIT", "MIT-0", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause",
    # That of Mozilla's list of certificate authorities, which is data (webpki-roots).
    "CDLA-Permissive-2.0",
    "BSD-3-Clause", "ISC", "Zlib", "0BSD", "Unicode-3.0", "CC0-1.0", "Unlicense", "BSL-1.0",
}
# The engine does no I/O and knows no backend: these must not reach it.
NOT_IN_CORE = {"mio", "socket2", "rustls", "openssl-sys", "native-tls", "hyper", "sqlx-core"}
# Two drivers that have not gone over to the same generation of the RustCrypto crates.
MOST_DUPLICATES = 14


def acceptable(expression):
    """Whether a licence expression can be met: any OR alternative, all AND parts."""
    text = expression.replace("/", " OR ").replace("(", " ").replace(")", " ")
    return any(
        all(part.strip() in ALLOWED for part in re.split(r"\bAND\b", alternative))
        for alternative in re.split(r"\bOR\b", text)
    ) or all(  # (A OR B) AND C, with the brackets gone
        any(one.strip() in ALLOWED for one in re.split(r"\bOR\b", part))
        for part in re.split(r"\bAND\b", text)
    )


def main():
    metadata = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--format-version", "1", "--locked"],
            check=True, capture_output=True, text=True,
        ).stdout
    )
    problems = []
    packages = {package["id"]: package for package in metadata["packages"]}
    versions = {}
    for package in packages.values():
        name = f'{package["name"]} {package["version"]}'
        versions.setdefault(package["name"], set()).add(package["version"])
        if not package.get("license") or not acceptable(package["license"]):
            problems.append(f'{name}: licence {package.get("license")!r} is not on the list')
        if package["source"] and not package["source"].startswith("registry+"):
            problems.append(f"{name}: comes from outside the registry")
    # Features are those of the engine alone, not of the workspace together.
    tree = ["cargo", "tree", "--locked", "-p", "chunkpoint-core", "-e", "normal", "--prefix", "none"]
    lines = subprocess.run(tree, check=True, capture_output=True, text=True).stdout.splitlines()
    reached = {line.split()[0] for line in lines if line.strip()}
    for name in sorted(reached - {"chunkpoint-core"}):
        if name in NOT_IN_CORE or name.startswith("chunkpoint"):
            problems.append(f"chunkpoint-core pulls in {name}")
    duplicates = sorted(name for name, found in versions.items() if len(found) > 1)
    if len(duplicates) > MOST_DUPLICATES:
        problems.append(f'{len(duplicates)} crates in several versions: {", ".join(duplicates)}')
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    print(
        f"{len(packages)} packages, {len(reached)} below chunkpoint-core, "
        f"in several versions: {', '.join(duplicates) or 'none'}"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
