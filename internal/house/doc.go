// Package house holds the tests that keep the rooms of this project apart: who may import whom, who may
// read a clock, and that every package says what it is for. It has no code of its own.
package house
