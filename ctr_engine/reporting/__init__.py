"""Pictures and sentences about a result; returned, never written."""
