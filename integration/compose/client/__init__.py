"""What runs in the container `client`: the browser's side of the suite, and a look into Redis."""
