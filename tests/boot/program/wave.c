#include "program.h"

#include <complex.h>
#include <math.h>
#include <stdlib.h>

static void transform(double complex *a, unsigned log2, int sign)
{
	size_t n = (size_t)1 << log2;

	for (size_t i = 1, j = 0; i < n; i++) {
		size_t bit = n >> 1;

		for (; j & bit; bit >>= 1)
			j ^= bit;
		j ^= bit;
		if (i < j) {
			double complex t = a[i];

			a[i] = a[j];
			a[j] = t;
		}
	}
	for (size_t len = 2; len <= n; len <<= 1)
		for (size_t i = 0; i < n; i += len)
			for (size_t k = 0; k < len / 2; k++) {
				double angle = sign * 6.283185307179586 * (double)k / (double)len;
				double complex u = a[i + k], v = a[i + k + len / 2] * (cos(angle) + I * sin(angle));

				a[i + k] = u + v;
				a[i + k + len / 2] = u - v;
			}
}

static double complex *samples(unsigned log2, unsigned frequency)
{
	size_t n = (size_t)1 << log2;
	double complex *a = malloc(n * sizeof(*a));

	for (size_t k = 0; k < n; k++)
		a[k] = sin(6.283185307179586 * (double)((k * frequency) % n) / (double)n);
	return a;
}

double wave_peak(unsigned log2, unsigned frequency)
{
	double complex *a = samples(log2, frequency);
	double peak;

	transform(a, log2, -1);
	peak = cabs(a[frequency]) / (double)((size_t)1 << log2);
	free(a);
	return peak;
}

double wave_error(unsigned log2)
{
	size_t n = (size_t)1 << log2;
	double complex *a = samples(log2, 3), *b = samples(log2, 3);
	double most = 0;

	transform(a, log2, -1);
	transform(a, log2, 1);
	for (size_t k = 0; k < n; k++)
		most = fmax(most, cabs(a[k] / (double)n - b[k]));
	free(a);
	free(b);
	return most * 1e12;
}
