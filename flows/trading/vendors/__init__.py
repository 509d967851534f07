"""Where prices come from: each module speaks one service's format and gives bars."""
