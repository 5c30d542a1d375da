SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE SCHEMA ai;

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE ai.agno_approvals (
    id character varying NOT NULL,
    run_id character varying NOT NULL,
    session_id character varying NOT NULL,
    status character varying NOT NULL,
    source_type character varying NOT NULL,
    approval_type character varying,
    pause_type character varying NOT NULL,
    tool_name character varying,
    tool_args jsonb,
    expires_at bigint,
    agent_id character varying,
    team_id character varying,
    workflow_id character varying,
    user_id character varying,
    schedule_id character varying,
    schedule_run_id character varying,
    source_name character varying,
    requirements jsonb,
    context jsonb,
    resolution_data jsonb,
    resolved_by character varying,
    resolved_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint,
    run_status character varying
);

CREATE TABLE ai.agno_eval_runs (
    run_id character varying NOT NULL,
    eval_type character varying NOT NULL,
    eval_data jsonb NOT NULL,
    eval_input jsonb NOT NULL,
    name character varying,
    agent_id character varying,
    team_id character varying,
    workflow_id character varying,
    model_id character varying,
    model_provider character varying,
    evaluated_component_name character varying,
    user_id character varying,
    created_at bigint NOT NULL,
    updated_at bigint
);

CREATE TABLE ai.agno_knowledge (
    id character varying NOT NULL,
    name character varying NOT NULL,
    description text NOT NULL,
    metadata jsonb,
    type character varying,
    size bigint,
    linked_to character varying,
    access_count bigint,
    status character varying,
    status_message text,
    created_at bigint,
    updated_at bigint,
    external_id character varying,
    user_id character varying
);

CREATE TABLE ai.agno_learnings (
    learning_id character varying NOT NULL,
    learning_type character varying NOT NULL,
    namespace character varying,
    user_id character varying,
    agent_id character varying,
    team_id character varying,
    workflow_id character varying,
    session_id character varying,
    entity_id character varying,
    entity_type character varying,
    content jsonb NOT NULL,
    metadata jsonb,
    created_at bigint NOT NULL,
    updated_at bigint
);

CREATE TABLE ai.agno_memories (
    memory_id character varying NOT NULL,
    memory jsonb NOT NULL,
    feedback text,
    input text,
    agent_id character varying,
    team_id character varying,
    user_id character varying,
    topics jsonb,
    created_at bigint NOT NULL,
    updated_at bigint
);

CREATE TABLE ai.agno_metrics (
    id character varying NOT NULL,
    agent_runs_count bigint NOT NULL,
    team_runs_count bigint NOT NULL,
    workflow_runs_count bigint NOT NULL,
    agent_sessions_count bigint NOT NULL,
    team_sessions_count bigint NOT NULL,
    workflow_sessions_count bigint NOT NULL,
    users_count bigint NOT NULL,
    token_metrics jsonb NOT NULL,
    model_metrics jsonb NOT NULL,
    date date NOT NULL,
    aggregation_period character varying NOT NULL,
    user_id character varying NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint,
    completed boolean NOT NULL
);

CREATE TABLE ai.agno_runs (
    run_id character varying NOT NULL,
    session_id character varying NOT NULL,
    run_type character varying NOT NULL,
    agent_id character varying,
    team_id character varying,
    workflow_id character varying,
    user_id character varying,
    parent_run_id character varying,
    status character varying,
    run_index bigint,
    run_data jsonb NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint
);

CREATE TABLE ai.agno_schedule_runs (
    id character varying NOT NULL,
    schedule_id character varying NOT NULL,
    attempt bigint NOT NULL,
    triggered_at bigint,
    completed_at bigint,
    status character varying NOT NULL,
    status_code bigint,
    run_id character varying,
    session_id character varying,
    error text,
    input jsonb,
    output jsonb,
    requirements jsonb,
    user_id character varying,
    created_at bigint NOT NULL
);

CREATE TABLE ai.agno_schedules (
    id character varying NOT NULL,
    name character varying NOT NULL,
    description text,
    method character varying NOT NULL,
    endpoint character varying NOT NULL,
    payload jsonb,
    cron_expr character varying NOT NULL,
    timezone character varying NOT NULL,
    timeout_seconds bigint NOT NULL,
    max_retries bigint NOT NULL,
    retry_delay_seconds bigint NOT NULL,
    enabled boolean NOT NULL,
    next_run_at bigint,
    locked_by character varying,
    locked_at bigint,
    user_id character varying,
    managed_by character varying,
    target_type character varying,
    target_id character varying,
    created_by_run_id character varying,
    created_by_session_id character varying,
    updated_by_run_id character varying,
    updated_by_session_id character varying,
    disabled_reason character varying,
    created_at bigint NOT NULL,
    updated_at bigint
);

CREATE TABLE ai.agno_schema_versions (
    table_name character varying NOT NULL,
    version character varying NOT NULL,
    created_at character varying NOT NULL,
    updated_at character varying
);

CREATE TABLE ai.agno_service_accounts (
    id character varying NOT NULL,
    name character varying NOT NULL,
    user_id character varying,
    token_hash character varying NOT NULL,
    token_prefix character varying NOT NULL,
    scopes jsonb NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint,
    last_used_at bigint,
    revoked_at bigint,
    created_by character varying
);

CREATE TABLE ai.agno_sessions (
    session_id character varying NOT NULL,
    session_type character varying NOT NULL,
    agent_id character varying,
    team_id character varying,
    workflow_id character varying,
    user_id character varying,
    session_data jsonb,
    agent_data jsonb,
    team_data jsonb,
    workflow_data jsonb,
    metadata jsonb,
    summary jsonb,
    created_at bigint NOT NULL,
    updated_at bigint
);

CREATE TABLE ai.agno_tool_results (
    result_id character varying NOT NULL,
    namespace character varying NOT NULL,
    path character varying NOT NULL,
    session_id character varying NOT NULL,
    run_id character varying NOT NULL,
    tool_call_id character varying NOT NULL,
    tool_name character varying NOT NULL,
    args_hash character varying NOT NULL,
    content_type character varying NOT NULL,
    size_bytes bigint NOT NULL,
    line_count bigint NOT NULL,
    preview text NOT NULL,
    user_id character varying,
    created_at bigint NOT NULL,
    expires_at bigint
);

INSERT INTO ai.agno_memories VALUES
	('2f3cdb46-ff13-4bf7-a943-94b4bf2ef6e3', '"Ada is called Ada and prefers tea"', NULL, 'My name is Ada and I prefer tea', 'helper', NULL, 'ada', '["name", "drinks"]', 1796138053, 1796138053),
	('e76a7e16-39f8-4463-8d33-c4329c19c532', '"Bob lives in Kraków 🏰"', NULL, 'I am Bob, I live in Kraków 🏰', 'helper', NULL, 'bob', '["name", "place"]', 1796138054, 1796138054),
	('f1893e05-a08d-45ca-b0b8-5619c354ed6e', '"Ada plays the cello"', NULL, 'I play the cello', NULL, 'crew', 'ada', '["music"]', 1796138054, 1796138054),
	('da04b171-1b1c-4ba7-879e-0301d7c90784', '"Somebody without a name was here"', NULL, 'Nobody knows me', 'helper', NULL, 'default', 'null', 1796138056, 1796138056);

INSERT INTO ai.agno_runs VALUES
	('ea0b60bd-532e-4cd7-9b17-834728c1fa81', 'c1', 'agent', 'helper', NULL, NULL, 'ada', NULL, 'COMPLETED', 0, '{"input": {"input_content": "My name is Ada and I prefer tea"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "ea0b60bd-532e-4cd7-9b17-834728c1fa81", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 1.2736012239997763, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.772810323000158}, "user_id": "ada", "agent_id": "helper", "messages": [{"id": "8c944656-d653-4629-a8c3-c59185f87079", "role": "system", "content": "(instructions)", "created_at": 1796138052, "from_history": false, "stop_after_tool_call": false}, {"id": "05e51d4a-ee1b-4110-9e26-e9b7f2f43903", "role": "user", "content": "My name is Ada and I prefer tea", "created_at": 1796138052, "from_history": false, "stop_after_tool_call": false}, {"id": "e15688cf-5a71-4af4-8af1-811ec43c7387", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.6708895509996182, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.6708895509996182}, "created_at": 1796138052, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "agent_name": "Helper", "created_at": 1796138052, "session_id": "c1", "content_type": "str", "session_state": {}, "model_provider": "OpenAI", "model_provider_data": {"id": "chatcmpl-1"}}', 1796138052, 1796138053),
	('51dcece0-598b-4400-9710-f56312ead008', 'c1', 'agent', 'helper', NULL, NULL, 'ada', NULL, 'COMPLETED', 1, '{"input": {"input_content": "Who am I?"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "51dcece0-598b-4400-9710-f56312ead008", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.40426955599969006, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.1263692159996026}, "user_id": "ada", "agent_id": "helper", "messages": [{"id": "f2626862-7c01-4428-9427-5617de054e93", "role": "system", "content": "(instructions)", "created_at": 1796138053, "from_history": false, "stop_after_tool_call": false}, {"id": "a5d99861-c945-4c90-ad27-4126090f413f", "role": "user", "content": "Who am I?", "created_at": 1796138053, "from_history": false, "stop_after_tool_call": false}, {"id": "973326e5-a52c-4366-8197-9cb8d919450d", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.02245927500007383, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.02245927500007383}, "created_at": 1796138053, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "agent_name": "Helper", "created_at": 1796138053, "session_id": "c1", "content_type": "str", "session_state": {}, "model_provider": "OpenAI", "model_provider_data": {"id": "chatcmpl-1"}}', 1796138053, 1796138053),
	('124939cb-43cf-4a92-a3ce-9c75d796d6e1', 'c2', 'agent', 'helper', NULL, NULL, 'bob', NULL, 'COMPLETED', 0, '{"input": {"input_content": "I am Bob, I live in Kraków 🏰"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "124939cb-43cf-4a92-a3ce-9c75d796d6e1", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.47582147000002806, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.11448794599982648}, "user_id": "bob", "agent_id": "helper", "messages": [{"id": "b9391b8b-6bd9-423d-975d-0d9e629a78b2", "role": "system", "content": "(instructions)", "created_at": 1796138054, "from_history": false, "stop_after_tool_call": false}, {"id": "085ce29d-0606-4fba-b4fa-7b01e57bc77b", "role": "user", "content": "I am Bob, I live in Kraków 🏰", "created_at": 1796138054, "from_history": false, "stop_after_tool_call": false}, {"id": "c2f7b5de-f648-49d1-a245-6f6cab46e939", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.05544304500017461, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.05544304500017461}, "created_at": 1796138054, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "agent_name": "Helper", "created_at": 1796138054, "session_id": "c2", "content_type": "str", "session_state": {}, "model_provider": "OpenAI", "model_provider_data": {"id": "chatcmpl-1"}}', 1796138054, 1796138054),
	('bdc29059-bab1-41c2-8ba0-3b4c44f753bb', 'channel-7', 'team', NULL, 'crew', NULL, 'ada', NULL, 'COMPLETED', 0, '{"input": {"input_content": "I play the cello"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "bdc29059-bab1-41c2-8ba0-3b4c44f753bb", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.46687554000027376, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.1071640270001808}, "team_id": "crew", "user_id": "ada", "messages": [{"id": "68c2e61c-335e-42b9-a769-cf5337d35c63", "role": "system", "content": "(instructions)", "created_at": 1796138054, "from_history": false, "stop_after_tool_call": false}, {"id": "436d1dd3-3079-4c71-8bf0-0c8cecb0e083", "role": "user", "content": "I play the cello", "created_at": 1796138054, "from_history": false, "stop_after_tool_call": false}, {"id": "a897f106-d3dc-4caf-a4bd-9498e9825a75", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.024138740999660513, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.024138740999660513}, "created_at": 1796138054, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Crew", "created_at": 1796138054, "session_id": "channel-7", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1796138054, 1796138055),
	('f4ee86d4-9885-4b2c-9ae2-5c5e551a9253', 'channel-7', 'team', NULL, 'crew', NULL, 'bob', NULL, 'COMPLETED', 0, '{"input": {"input_content": "Nice, Ada"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "f4ee86d4-9885-4b2c-9ae2-5c5e551a9253", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.3907790250000289, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.05929597599970293}, "team_id": "crew", "user_id": "bob", "messages": [{"id": "a65b450f-0262-428e-8ed1-9090cbda468e", "role": "system", "content": "(instructions)", "created_at": 1796138055, "from_history": false, "stop_after_tool_call": false}, {"id": "e2c19e59-05dd-4adf-8b79-9b25fbeb65e9", "role": "user", "content": "Nice, Ada", "created_at": 1796138055, "from_history": false, "stop_after_tool_call": false}, {"id": "75b3c9d5-d574-459c-8319-3f44c5f2dd45", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.02216875300018728, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.02216875300018728}, "created_at": 1796138055, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Crew", "created_at": 1796138055, "session_id": "channel-7", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1796138055, 1796138055),
	('e7d76e13-c932-4d4c-b10c-3aa13312b108', 'channel-7', 'team', NULL, 'crew', NULL, 'bob', NULL, 'COMPLETED', 0, '{"input": {"input_content": "What does Ada play?"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "e7d76e13-c932-4d4c-b10c-3aa13312b108", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.3935931329997402, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.09438445600017076}, "team_id": "crew", "user_id": "bob", "messages": [{"id": "2dc774a8-05b0-4bbf-af16-4a55743a8a11", "role": "system", "content": "(instructions)", "created_at": 1796138055, "from_history": false, "stop_after_tool_call": false}, {"id": "4ff2aa82-4b7e-4c75-9a58-61e9c22f8553", "role": "user", "content": "What does Ada play?", "created_at": 1796138055, "from_history": false, "stop_after_tool_call": false}, {"id": "f638460b-7f01-490e-a528-a815a6c92c73", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.054610702999980276, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.054610702999980276}, "created_at": 1796138055, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Crew", "created_at": 1796138055, "session_id": "channel-7", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1796138055, 1796138056),
	('2a9631ca-341d-4910-a407-ad2442daa215', 'nobody', 'agent', 'helper', NULL, NULL, NULL, NULL, 'COMPLETED', 0, '{"input": {"input_content": "Nobody knows me"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "2a9631ca-341d-4910-a407-ad2442daa215", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.2426461320001181, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.15822227899980135}, "agent_id": "helper", "messages": [{"id": "3b2b8776-bb0c-4719-9234-fc5e69d01cec", "role": "system", "content": "(instructions)", "created_at": 1796138056, "from_history": false, "stop_after_tool_call": false}, {"id": "ad4504c5-c954-4d9a-9234-faf6561c50e4", "role": "user", "content": "Nobody knows me", "created_at": 1796138056, "from_history": false, "stop_after_tool_call": false}, {"id": "7dbaa024-56e3-47a3-98ab-2d6d1fe0c06f", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.14507010299985268, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.14507010299985268}, "created_at": 1796138056, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "agent_name": "Helper", "created_at": 1796138056, "session_id": "nobody", "content_type": "str", "session_state": {}, "model_provider": "OpenAI", "model_provider_data": {"id": "chatcmpl-1"}}', 1796138056, 1796138056);

INSERT INTO ai.agno_schema_versions VALUES
	('agno_sessions', '3.0.0', '2026-12-01T15:14:07.746234', '2026-12-01T15:14:07.746234'),
	('agno_runs', '3.0.0', '2026-12-01T15:14:08.160198', '2026-12-01T15:14:08.160198'),
	('agno_memories', '3.0.0', '2026-12-01T15:14:08.337193', '2026-12-01T15:14:08.337193'),
	('agno_metrics', '3.0.0', '2026-12-01T15:14:08.515013', '2026-12-01T15:14:08.515013'),
	('agno_eval_runs', '3.0.0', '2026-12-01T15:14:08.710877', '2026-12-01T15:14:08.710877'),
	('agno_knowledge', '3.0.0', '2026-12-01T15:14:08.954901', '2026-12-01T15:14:08.954901'),
	('agno_learnings', '3.0.0', '2026-12-01T15:14:09.402491', '2026-12-01T15:14:09.402491'),
	('agno_schedules', '3.0.0', '2026-12-01T15:14:09.919382', '2026-12-01T15:14:09.919382'),
	('agno_schedule_runs', '3.0.0', '2026-12-01T15:14:10.197152', '2026-12-01T15:14:10.197152'),
	('agno_approvals', '3.0.0', '2026-12-01T15:14:10.888943', '2026-12-01T15:14:10.888943'),
	('agno_service_accounts', '3.0.0', '2026-12-01T15:14:11.209419', '2026-12-01T15:14:11.209419'),
	('agno_tool_results', '3.0.0', '2026-12-01T15:14:11.441927', '2026-12-01T15:14:11.441927');

INSERT INTO ai.agno_sessions VALUES
	('c1', 'agent', 'helper', NULL, NULL, 'ada', '{"session_state": {}, "session_metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}]}, "input_tokens": 40, "total_tokens": 60, "output_tokens": 20}}', '{"name": "Helper", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "agent_id": "helper"}', NULL, NULL, 'null', 'null', 1796138052, 1796138053),
	('c2', 'agent', 'helper', NULL, NULL, 'bob', '{"session_state": {}, "session_metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}}', '{"name": "Helper", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "agent_id": "helper"}', NULL, NULL, 'null', 'null', 1796138054, 1796138054),
	('channel-7', 'team', NULL, 'crew', NULL, 'ada', '{"session_state": {}, "session_metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}}', NULL, '{"name": "Crew", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "team_id": "crew"}', NULL, 'null', 'null', 1796138054, 1796138054),
	('nobody', 'agent', 'helper', NULL, NULL, NULL, '{"session_state": {}, "session_metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}}', '{"name": "Helper", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "agent_id": "helper"}', NULL, NULL, 'null', 'null', 1796138056, 1796138056);

ALTER TABLE ONLY ai.agno_approvals
    ADD CONSTRAINT agno_approvals_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ai.agno_eval_runs
    ADD CONSTRAINT agno_eval_runs_pkey PRIMARY KEY (run_id);

ALTER TABLE ONLY ai.agno_knowledge
    ADD CONSTRAINT agno_knowledge_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ai.agno_learnings
    ADD CONSTRAINT agno_learnings_pkey PRIMARY KEY (learning_id);

ALTER TABLE ONLY ai.agno_memories
    ADD CONSTRAINT agno_memories_pkey PRIMARY KEY (memory_id);

ALTER TABLE ONLY ai.agno_metrics
    ADD CONSTRAINT agno_metrics_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ai.agno_metrics
    ADD CONSTRAINT agno_metrics_uq_metrics_user_date_period UNIQUE (user_id, date, aggregation_period);

ALTER TABLE ONLY ai.agno_runs
    ADD CONSTRAINT agno_runs_pkey PRIMARY KEY (run_id);

ALTER TABLE ONLY ai.agno_schedule_runs
    ADD CONSTRAINT agno_schedule_runs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ai.agno_schedules
    ADD CONSTRAINT agno_schedules_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ai.agno_schema_versions
    ADD CONSTRAINT agno_schema_versions_pkey PRIMARY KEY (table_name);

ALTER TABLE ONLY ai.agno_service_accounts
    ADD CONSTRAINT agno_service_accounts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ai.agno_service_accounts
    ADD CONSTRAINT agno_service_accounts_token_hash_key UNIQUE (token_hash);

ALTER TABLE ONLY ai.agno_sessions
    ADD CONSTRAINT agno_sessions_pkey PRIMARY KEY (session_id);

ALTER TABLE ONLY ai.agno_tool_results
    ADD CONSTRAINT agno_tool_results_pkey PRIMARY KEY (result_id);

ALTER TABLE ONLY ai.agno_tool_results
    ADD CONSTRAINT agno_tool_results_uq_tool_results_namespace_path UNIQUE (namespace, path);

CREATE UNIQUE INDEX agno_schedules_uq_unowned_name ON ai.agno_schedules USING btree (name) WHERE (user_id IS NULL);

CREATE UNIQUE INDEX agno_schedules_uq_user_name ON ai.agno_schedules USING btree (user_id, name) WHERE (user_id IS NOT NULL);

CREATE UNIQUE INDEX agno_service_accounts_uq_active_name ON ai.agno_service_accounts USING btree (name) WHERE (revoked_at IS NULL);

CREATE INDEX idx_agno_approvals_agent_id ON ai.agno_approvals USING btree (agent_id);

CREATE INDEX idx_agno_approvals_approval_type ON ai.agno_approvals USING btree (approval_type);

CREATE INDEX idx_agno_approvals_created_at ON ai.agno_approvals USING btree (created_at);

CREATE INDEX idx_agno_approvals_pause_type ON ai.agno_approvals USING btree (pause_type);

CREATE INDEX idx_agno_approvals_run_id ON ai.agno_approvals USING btree (run_id);

CREATE INDEX idx_agno_approvals_run_status ON ai.agno_approvals USING btree (run_status);

CREATE INDEX idx_agno_approvals_schedule_id ON ai.agno_approvals USING btree (schedule_id);

CREATE INDEX idx_agno_approvals_schedule_run_id ON ai.agno_approvals USING btree (schedule_run_id);

CREATE INDEX idx_agno_approvals_session_id ON ai.agno_approvals USING btree (session_id);

CREATE INDEX idx_agno_approvals_source_type ON ai.agno_approvals USING btree (source_type);

CREATE INDEX idx_agno_approvals_status ON ai.agno_approvals USING btree (status);

CREATE INDEX idx_agno_approvals_team_id ON ai.agno_approvals USING btree (team_id);

CREATE INDEX idx_agno_approvals_user_id ON ai.agno_approvals USING btree (user_id);

CREATE INDEX idx_agno_approvals_workflow_id ON ai.agno_approvals USING btree (workflow_id);

CREATE INDEX idx_agno_eval_runs_created_at ON ai.agno_eval_runs USING btree (created_at);

CREATE INDEX idx_agno_eval_runs_user_id ON ai.agno_eval_runs USING btree (user_id);

CREATE INDEX idx_agno_knowledge_user_id ON ai.agno_knowledge USING btree (user_id);

CREATE INDEX idx_agno_knowledge_user_id_linked_to ON ai.agno_knowledge USING btree (user_id, linked_to);

CREATE INDEX idx_agno_learnings_agent_id ON ai.agno_learnings USING btree (agent_id);

CREATE INDEX idx_agno_learnings_created_at ON ai.agno_learnings USING btree (created_at);

CREATE INDEX idx_agno_learnings_entity_id ON ai.agno_learnings USING btree (entity_id);

CREATE INDEX idx_agno_learnings_entity_type ON ai.agno_learnings USING btree (entity_type);

CREATE INDEX idx_agno_learnings_learning_type ON ai.agno_learnings USING btree (learning_type);

CREATE INDEX idx_agno_learnings_namespace ON ai.agno_learnings USING btree (namespace);

CREATE INDEX idx_agno_learnings_session_id ON ai.agno_learnings USING btree (session_id);

CREATE INDEX idx_agno_learnings_team_id ON ai.agno_learnings USING btree (team_id);

CREATE INDEX idx_agno_learnings_user_id ON ai.agno_learnings USING btree (user_id);

CREATE INDEX idx_agno_learnings_workflow_id ON ai.agno_learnings USING btree (workflow_id);

CREATE INDEX idx_agno_memories_created_at ON ai.agno_memories USING btree (created_at);

CREATE INDEX idx_agno_memories_updated_at ON ai.agno_memories USING btree (updated_at);

CREATE INDEX idx_agno_memories_user_id ON ai.agno_memories USING btree (user_id);

CREATE INDEX idx_agno_metrics_date ON ai.agno_metrics USING btree (date);

CREATE INDEX idx_agno_metrics_user_id ON ai.agno_metrics USING btree (user_id);

CREATE INDEX idx_agno_runs_agent_id ON ai.agno_runs USING btree (agent_id);

CREATE INDEX idx_agno_runs_created_at ON ai.agno_runs USING btree (created_at);

CREATE INDEX idx_agno_runs_run_type ON ai.agno_runs USING btree (run_type);

CREATE INDEX idx_agno_runs_session_id ON ai.agno_runs USING btree (session_id);

CREATE INDEX idx_agno_runs_session_id_run_index ON ai.agno_runs USING btree (session_id, run_index);

CREATE INDEX idx_agno_runs_status ON ai.agno_runs USING btree (status);

CREATE INDEX idx_agno_runs_team_id ON ai.agno_runs USING btree (team_id);

CREATE INDEX idx_agno_runs_user_id ON ai.agno_runs USING btree (user_id);

CREATE INDEX idx_agno_runs_workflow_id ON ai.agno_runs USING btree (workflow_id);

CREATE INDEX idx_agno_schedule_runs_created_at ON ai.agno_schedule_runs USING btree (created_at);

CREATE INDEX idx_agno_schedule_runs_schedule_id ON ai.agno_schedule_runs USING btree (schedule_id);

CREATE INDEX idx_agno_schedule_runs_status ON ai.agno_schedule_runs USING btree (status);

CREATE INDEX idx_agno_schedule_runs_user_id ON ai.agno_schedule_runs USING btree (user_id);

CREATE INDEX idx_agno_schedules_created_at ON ai.agno_schedules USING btree (created_at);

CREATE INDEX idx_agno_schedules_enabled_next_run_at ON ai.agno_schedules USING btree (enabled, next_run_at);

CREATE INDEX idx_agno_schedules_managed_by ON ai.agno_schedules USING btree (managed_by);

CREATE INDEX idx_agno_schedules_name ON ai.agno_schedules USING btree (name);

CREATE INDEX idx_agno_schedules_next_run_at ON ai.agno_schedules USING btree (next_run_at);

CREATE INDEX idx_agno_schedules_target_id ON ai.agno_schedules USING btree (target_id);

CREATE INDEX idx_agno_schedules_user_id ON ai.agno_schedules USING btree (user_id);

CREATE INDEX idx_agno_schedules_user_id_enabled_next_run_at ON ai.agno_schedules USING btree (user_id, enabled, next_run_at);

CREATE INDEX idx_agno_schema_versions_created_at ON ai.agno_schema_versions USING btree (created_at);

CREATE INDEX idx_agno_service_accounts_created_at ON ai.agno_service_accounts USING btree (created_at);

CREATE INDEX idx_agno_service_accounts_token_hash ON ai.agno_service_accounts USING btree (token_hash);

CREATE INDEX idx_agno_sessions_created_at ON ai.agno_sessions USING btree (created_at);

CREATE INDEX idx_agno_sessions_session_type ON ai.agno_sessions USING btree (session_type);

CREATE INDEX idx_agno_tool_results_expires_at ON ai.agno_tool_results USING btree (expires_at);

CREATE INDEX idx_agno_tool_results_session_id_created_at ON ai.agno_tool_results USING btree (session_id, created_at);

ALTER TABLE ONLY ai.agno_runs
    ADD CONSTRAINT agno_runs_session_id_fkey FOREIGN KEY (session_id) REFERENCES ai.agno_sessions(session_id) ON DELETE CASCADE;

ALTER TABLE ONLY ai.agno_schedule_runs
    ADD CONSTRAINT agno_schedule_runs_schedule_id_fkey FOREIGN KEY (schedule_id) REFERENCES ai.agno_schedules(id) ON DELETE CASCADE;
