"""What a review does with finished runs, from their records alone: judge a run by a budget, compare it with another."""
