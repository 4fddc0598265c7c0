/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_ENGINE_SCHEMA_H
#define PENSTOCK_ENGINE_SCHEMA_H

#include "penstock/base/buf.h"
#include "penstock/base/fault.h"
#include "penstock/base/slice.h"

#define PS_SCHEMA_GRAMMAR_MAX 262144

/*
 * A JSON schema as a grammar (GBNF) that allows only its instances. Pure. The subset:
 *
 *   type        string, number, integer, boolean, null, object, array, or a list of these
 *   enum, const any JSON values
 *   object      properties in the order they are listed, required (those not listed may be left
 * out), additionalProperties false (others are never generated) array       items, minItems,
 * maxItems (at most 64) string      minLength, maxLength (at most 256) anyOf, oneOf  of such
 * schemas $ref        "#", "#/$defs/NAME" and "#/definitions/NAME" title, description, default,
 * examples, $schema, $id, $comment: read over
 *
 * Anything else is an error that names it. 0, or -1 with BAD_FIELD.
 */
int ps_schema_grammar(struct ps_slice schema, struct ps_buf *ret, struct ps_fault *fault);
/* Any JSON object. */
void ps_schema_object_grammar(struct ps_buf *ret);

#endif
