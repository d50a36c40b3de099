/* AMD-V with nested paging, on the bare processor (AMD APM vol. 2, chapter 15). */
#ifndef ENGINES_SVM_SVM_H
#define ENGINES_SVM_SVM_H

#include "engines/bare.h"

extern const struct bare_engine bare_svm;

#endif
