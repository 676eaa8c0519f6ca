"""The Go CDI library as a program that answers questions, for comparison with ours."""
