package ds

import "math/rand/v2"

// Sample returns count different positions of a structure of n elements, in random order, each choice with
// the same chance. It takes time and memory for count of them, not for n; count is at most n.
func Sample(n, count int) []int {
	// The first count steps of a shuffle of 0..n-1, in which only the positions that moved are kept.
	picked := make([]int, count)
	moved := make(map[int]int, count)
	at := func(i int) int {
		if v, ok := moved[i]; ok {
			return v
		}
		return i
	}
	for i := range picked {
		j := i + rand.IntN(n-i)
		picked[i] = at(j)
		moved[j] = at(i)
	}
	return picked
}
