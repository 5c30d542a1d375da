
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

CREATE TABLE ai.agent_sessions (
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
    runs jsonb,
    summary jsonb,
    created_at bigint NOT NULL,
    updated_at bigint
);

CREATE TABLE ai.agent_sessions_runs (
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

CREATE TABLE ai.agno_schema_versions (
    table_name character varying NOT NULL,
    version character varying NOT NULL,
    created_at character varying NOT NULL,
    updated_at character varying
);

CREATE TABLE ai.user_memories (
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

INSERT INTO ai.agent_sessions VALUES
	('c1', 'team', NULL, 'hero-team', NULL, 'ada', '{"session_state": {}, "session_metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}]}, "input_tokens": 40, "total_tokens": 60, "output_tokens": 20}}', NULL, '{"name": "Hero Team", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "team_id": "hero-team"}', NULL, 'null', '[{"input": {"input_content": "My name is Ada and I prefer tea"}, "model": "openai/gpt-oss-120b", "events": [], "run_id": "43872132-8bea-42ac-a055-9c0ac5a7e854", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.34112823699979344, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.2504931669998314}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "d9a50051-aac2-4d94-957e-60e8f99c406d", "role": "system", "content": "(instructions)", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "d7b39797-d0a6-4837-83b8-b4e096178a58", "role": "user", "content": "My name is Ada and I prefer tea", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "479ad9e4-0a0e-4eeb-98f2-db11c2747a2d", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.23378562399989278, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.23378562399989278}, "created_at": 1795452166, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452166, "session_id": "c1", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}, {"input": {"input_content": "Who am I?"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "4289038e-d06c-494a-9de5-e94656e04d5c", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.10156420699991031, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.026412483999820324}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "433919bb-f046-411f-ac3f-a1bdb3fa8282", "role": "system", "content": "(instructions)", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "653609f9-b41d-4b14-afae-9cf426928423", "role": "user", "content": "Who am I?", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "885fd1b4-dd01-4e83-aaa8-a23a48f665e7", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.006966577999946821, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.006966577999946821}, "created_at": 1795452166, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452166, "session_id": "c1", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}]', 'null', 1795452166, 1795452166),
	('c2', 'team', NULL, 'hero-team', NULL, 'bob', '{"session_state": {}, "session_metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}}', NULL, '{"name": "Hero Team", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "team_id": "hero-team"}', NULL, 'null', '[{"input": {"input_content": "I am Bob, I live in Kraków 🏰"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "3e9f92fe-6fe0-481a-a10e-36c213ff6235", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.1118698459999905, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.02434884200010856}, "team_id": "hero-team", "user_id": "bob", "messages": [{"id": "221a7f92-d8db-48d8-8feb-be6b9abcb37f", "role": "system", "content": "(instructions)", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "ea282454-0f19-41f7-9d1b-09165bbd1d8f", "role": "user", "content": "I am Bob, I live in Kraków 🏰", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "49ed977d-4cf0-47a0-acbf-9a07edc173b5", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.00781931300002725, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.00781931300002725}, "created_at": 1795452166, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452166, "session_id": "c2", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}]', 'null', 1795452166, 1795452166),
	('channel-7', 'team', NULL, 'hero-team', NULL, 'ada', '{"session_state": {}, "session_metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}}', NULL, '{"name": "Hero Team", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "team_id": "hero-team"}', NULL, 'null', '[{"input": {"input_content": "I play the cello"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "d555c753-6a35-4cd9-b561-1f2817d479fb", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.06812314900003003, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.016648654999926293}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "b5869304-8405-4a04-9fb3-13df2f18cbee", "role": "system", "content": "(instructions)", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "74bdc322-d0cb-4e9b-ae39-f98311d6770a", "role": "user", "content": "I play the cello", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "18d72ac8-c705-4fae-99dd-34c927aef563", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.005497138000009727, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.005497138000009727}, "created_at": 1795452166, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452166, "session_id": "channel-7", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}]', 'null', 1795452166, 1795452166),
	('nobody', 'team', NULL, 'hero-team', NULL, NULL, '{"session_state": {}, "session_metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10}}', NULL, '{"name": "Hero Team", "model": {"id": "openai/gpt-oss-120b", "name": "OpenAILike", "provider": "OpenAI"}, "team_id": "hero-team"}', NULL, 'null', '[{"input": {"input_content": "Nobody knows me"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "4a43dcfb-457a-42e0-810d-4e8b45600fbe", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.08116044500002317, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.0202413859999524}, "team_id": "hero-team", "messages": [{"id": "0579fb6c-5659-486b-93fb-5d97877e3ac3", "role": "system", "content": "(instructions)", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "d68a2cb5-af54-4cbb-b1c0-05144c73c98d", "role": "user", "content": "Nobody knows me", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "d2e5ec4f-dec8-4a1c-80fa-e06f3e15cbac", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.005365812000036385, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.005365812000036385}, "created_at": 1795452166, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452166, "session_id": "nobody", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}]', 'null', 1795452166, 1795452166);

INSERT INTO ai.agent_sessions_runs VALUES
	('43872132-8bea-42ac-a055-9c0ac5a7e854', 'c1', 'team', NULL, 'hero-team', NULL, 'ada', NULL, 'COMPLETED', 0, '{"input": {"input_content": "My name is Ada and I prefer tea"}, "model": "openai/gpt-oss-120b", "events": [], "run_id": "43872132-8bea-42ac-a055-9c0ac5a7e854", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.34112823699979344, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.2504931669998314}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "d9a50051-aac2-4d94-957e-60e8f99c406d", "role": "system", "content": "(instructions)", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "d7b39797-d0a6-4837-83b8-b4e096178a58", "role": "user", "content": "My name is Ada and I prefer tea", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "479ad9e4-0a0e-4eeb-98f2-db11c2747a2d", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.23378562399989278, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.23378562399989278}, "created_at": 1795452166, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452166, "session_id": "c1", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452166, 1795452176),
	('4289038e-d06c-494a-9de5-e94656e04d5c', 'c1', 'team', NULL, 'hero-team', NULL, 'ada', NULL, 'COMPLETED', 1, '{"input": {"input_content": "Who am I?"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "4289038e-d06c-494a-9de5-e94656e04d5c", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.10156420699991031, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.026412483999820324}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "433919bb-f046-411f-ac3f-a1bdb3fa8282", "role": "system", "content": "(instructions)", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "653609f9-b41d-4b14-afae-9cf426928423", "role": "user", "content": "Who am I?", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "885fd1b4-dd01-4e83-aaa8-a23a48f665e7", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.006966577999946821, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.006966577999946821}, "created_at": 1795452166, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452166, "session_id": "c1", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452166, 1795452176),
	('3e9f92fe-6fe0-481a-a10e-36c213ff6235', 'c2', 'team', NULL, 'hero-team', NULL, 'bob', NULL, 'COMPLETED', 0, '{"input": {"input_content": "I am Bob, I live in Kraków 🏰"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "3e9f92fe-6fe0-481a-a10e-36c213ff6235", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.1118698459999905, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.02434884200010856}, "team_id": "hero-team", "user_id": "bob", "messages": [{"id": "221a7f92-d8db-48d8-8feb-be6b9abcb37f", "role": "system", "content": "(instructions)", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "ea282454-0f19-41f7-9d1b-09165bbd1d8f", "role": "user", "content": "I am Bob, I live in Kraków 🏰", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "49ed977d-4cf0-47a0-acbf-9a07edc173b5", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.00781931300002725, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.00781931300002725}, "created_at": 1795452166, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452166, "session_id": "c2", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452166, 1795452176),
	('d555c753-6a35-4cd9-b561-1f2817d479fb', 'channel-7', 'team', NULL, 'hero-team', NULL, 'ada', NULL, 'COMPLETED', 0, '{"input": {"input_content": "I play the cello"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "d555c753-6a35-4cd9-b561-1f2817d479fb", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.06812314900003003, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.016648654999926293}, "team_id": "hero-team", "user_id": "ada", "messages": [{"id": "b5869304-8405-4a04-9fb3-13df2f18cbee", "role": "system", "content": "(instructions)", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "74bdc322-d0cb-4e9b-ae39-f98311d6770a", "role": "user", "content": "I play the cello", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "18d72ac8-c705-4fae-99dd-34c927aef563", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.005497138000009727, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.005497138000009727}, "created_at": 1795452166, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452166, "session_id": "channel-7", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452166, 1795452176),
	('4a43dcfb-457a-42e0-810d-4e8b45600fbe', 'nobody', 'team', NULL, 'hero-team', NULL, NULL, NULL, 'COMPLETED', 0, '{"input": {"input_content": "Nobody knows me"}, "model": "openai/gpt-oss-120b", "tools": [], "run_id": "4a43dcfb-457a-42e0-810d-4e8b45600fbe", "status": "COMPLETED", "content": "I see.", "metrics": {"details": {"model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}], "memory_model": [{"id": "openai/gpt-oss-120b", "provider": "OpenAI", "input_tokens": 10, "total_tokens": 15, "output_tokens": 5}]}, "duration": 0.08116044500002317, "input_tokens": 20, "total_tokens": 30, "output_tokens": 10, "time_to_first_token": 0.0202413859999524}, "team_id": "hero-team", "messages": [{"id": "0579fb6c-5659-486b-93fb-5d97877e3ac3", "role": "system", "content": "(instructions)", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "d68a2cb5-af54-4cbb-b1c0-05144c73c98d", "role": "user", "content": "Nobody knows me", "created_at": 1795452166, "from_history": false, "stop_after_tool_call": false}, {"id": "d2e5ec4f-dec8-4a1c-80fa-e06f3e15cbac", "role": "assistant", "content": "I see.", "metrics": {"duration": 0.005365812000036385, "input_tokens": 10, "total_tokens": 15, "output_tokens": 5, "time_to_first_token": 0.005365812000036385}, "created_at": 1795452166, "from_history": false, "provider_data": {"id": "chatcmpl-1"}, "stop_after_tool_call": false}], "team_name": "Hero Team", "created_at": 1795452166, "session_id": "nobody", "content_type": "str", "model_provider": "OpenAI", "member_responses": [], "model_provider_data": {"id": "chatcmpl-1"}}', 1795452166, 1795452176);

INSERT INTO ai.agno_schema_versions VALUES
	('user_memories', '3.0.0', '2026-11-23T16:42:46.360151', '2026-11-23T16:42:56.164664'),
	('agent_sessions_runs', '3.0.0', '2026-11-23T16:42:56.231839', '2026-11-23T16:42:56.231839'),
	('agent_sessions', '3.0.0', '2026-11-23T16:42:46.429107', '2026-11-23T16:42:56.245729'),
	('agno_metrics', '3.0.0', '2026-11-23T16:42:56.260501', '2026-11-23T16:42:56.260501'),
	('agno_eval_runs', '3.0.0', '2026-11-23T16:42:56.271468', '2026-11-23T16:42:56.271468'),
	('agno_knowledge', '3.0.0', '2026-11-23T16:42:56.281357', '2026-11-23T16:42:56.281357'),
	('agno_approvals', '3.0.0', '2026-11-23T16:42:56.292021', '2026-11-23T16:42:56.292021'),
	('agno_components', '3.0.0', '2026-11-23T16:42:56.303146', '2026-11-23T16:42:56.303146'),
	('agno_schedules', '3.0.0', '2026-11-23T16:42:56.313606', '2026-11-23T16:42:56.313606'),
	('agno_company_products', '3.0.0', '2026-11-23T16:42:56.320451', '2026-11-23T16:42:56.320451'),
	('agno_company_sources', '3.0.0', '2026-11-23T16:42:56.328379', '2026-11-23T16:42:56.328379'),
	('agno_company_projects', '3.0.0', '2026-11-23T16:42:56.334893', '2026-11-23T16:42:56.334893'),
	('agno_company_tasks', '3.0.0', '2026-11-23T16:42:56.342088', '2026-11-23T16:42:56.342088'),
	('agno_schedule_runs', '3.0.0', '2026-11-23T16:42:56.351593', '2026-11-23T16:42:56.351593'),
	('agno_learnings', '3.0.0', '2026-11-23T16:42:56.397050', '2026-11-23T16:42:56.397050');

INSERT INTO ai.user_memories VALUES
	('85783ccf-29a7-4365-9308-8db7a9f90192', '"Ada is called Ada and prefers tea"', NULL, 'My name is Ada and I prefer tea', NULL, 'hero-team', 'ada', '["name", "drinks"]', 1795452166, 1795452166),
	('0c63758c-607c-45ea-ba79-3c7fbbcb159e', '"Bob lives in Kraków 🏰"', NULL, 'I am Bob, I live in Kraków 🏰', NULL, 'hero-team', 'bob', '["name", "place"]', 1795452166, 1795452166),
	('d93eff38-02de-493d-8064-7bfb4bc65e3e', '"Ada plays the cello"', NULL, 'I play the cello', NULL, 'hero-team', 'ada', '["music"]', 1795452166, 1795452166),
	('eebb571d-ffca-46ed-861d-a86ef9999695', '"Somebody without a name was here"', NULL, 'Nobody knows me', NULL, 'hero-team', 'default', 'null', 1795452166, 1795452166);

ALTER TABLE ONLY ai.agent_sessions
    ADD CONSTRAINT agent_sessions_pkey PRIMARY KEY (session_id);

ALTER TABLE ONLY ai.agent_sessions_runs
    ADD CONSTRAINT agent_sessions_runs_pkey PRIMARY KEY (run_id);

ALTER TABLE ONLY ai.agno_schema_versions
    ADD CONSTRAINT agno_schema_versions_pkey PRIMARY KEY (table_name);

ALTER TABLE ONLY ai.user_memories
    ADD CONSTRAINT user_memories_pkey PRIMARY KEY (memory_id);

CREATE INDEX idx_agent_sessions_created_at ON ai.agent_sessions USING btree (created_at);

CREATE INDEX idx_agent_sessions_runs_agent_id ON ai.agent_sessions_runs USING btree (agent_id);

CREATE INDEX idx_agent_sessions_runs_created_at ON ai.agent_sessions_runs USING btree (created_at);

CREATE INDEX idx_agent_sessions_runs_run_type ON ai.agent_sessions_runs USING btree (run_type);

CREATE INDEX idx_agent_sessions_runs_session_id ON ai.agent_sessions_runs USING btree (session_id);

CREATE INDEX idx_agent_sessions_runs_session_id_run_index ON ai.agent_sessions_runs USING btree (session_id, run_index);

CREATE INDEX idx_agent_sessions_runs_status ON ai.agent_sessions_runs USING btree (status);

CREATE INDEX idx_agent_sessions_runs_team_id ON ai.agent_sessions_runs USING btree (team_id);

CREATE INDEX idx_agent_sessions_runs_user_id ON ai.agent_sessions_runs USING btree (user_id);

CREATE INDEX idx_agent_sessions_runs_workflow_id ON ai.agent_sessions_runs USING btree (workflow_id);

CREATE INDEX idx_agent_sessions_session_type ON ai.agent_sessions USING btree (session_type);

CREATE INDEX idx_agno_schema_versions_created_at ON ai.agno_schema_versions USING btree (created_at);

CREATE INDEX idx_user_memories_created_at ON ai.user_memories USING btree (created_at);

CREATE INDEX idx_user_memories_updated_at ON ai.user_memories USING btree (updated_at);

CREATE INDEX idx_user_memories_user_id ON ai.user_memories USING btree (user_id);

ALTER TABLE ONLY ai.agent_sessions_runs
    ADD CONSTRAINT agent_sessions_runs_session_id_fkey FOREIGN KEY (session_id) REFERENCES ai.agent_sessions(session_id) ON DELETE CASCADE;

