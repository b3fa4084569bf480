"""The programs in the container `client`: the browser's side of the suite, and access to Redis."""
