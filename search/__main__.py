"""`python -m search`: the `forgetune` command where it is not installed, as inside a Ray job."""

from search.forgetune import main

main()
