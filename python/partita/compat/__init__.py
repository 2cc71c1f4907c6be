"""The interfaces of other libraries, over Partita: programs change their import lines alone."""
