"""Problems with their exact solutions, one file a problem."""
