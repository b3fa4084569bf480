// Lets host.go declare functions of other packages.
