"""The real thing: a daemon, a code server, a webserver and a project folder. No mock."""
